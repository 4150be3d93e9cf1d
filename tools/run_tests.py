#!/usr/bin/env python3
"""Runs every GoogleTest program of build/release and the Python tests, and prints one summary.

The last line is `N passed, N failed` (with `, N skipped` when some were). The exit status is 1 when
a test failed, a program crashed or hung, or nothing ran. Test suites whose name ends in `Slow`, and
Python tests marked `slow`, run only with --slow. With --device, the Python tests marked `device` run
there, and how many others were left out is said.
"""
import argparse
import concurrent.futures
import dataclasses
import json
import os
import pathlib
import re
import signal
import subprocess
import sys
import tempfile
import time
import xml.etree.ElementTree

ROOT = pathlib.Path(__file__).resolve().parent.parent
TIMEOUT_S = 30 * 60
MAX_LINES = 60  # of one failure's output


@dataclasses.dataclass
class Result:
    name: str
    passed: int = 0
    skipped: int = 0
    failures: list = dataclasses.field(default_factory=list)  # (test, output)
    seconds: float = 0.0
    slowest: tuple = ("", 0.0)


def run(command, environment):
    """Exit status (None when it ran past the limit) and output."""
    with subprocess.Popen(command, cwd=ROOT, env=environment, stdin=subprocess.DEVNULL, text=True,
                          stdout=subprocess.PIPE, stderr=subprocess.STDOUT, errors="replace",
                          start_new_session=True) as process:
        try:
            output, _ = process.communicate(timeout=TIMEOUT_S)
            return process.returncode, output
        except subprocess.TimeoutExpired:
            os.killpg(process.pid, signal.SIGKILL)
            return None, process.communicate()[0]


def ending(status):
    if status is None:
        return f"ran past {TIMEOUT_S // 60} minutes"
    if status < 0:
        return f"was ended by {signal.Signals(-status).name}"
    return f"exited with status {status}"


def tail(text):
    lines = text.splitlines()
    cut = [f"... {len(lines) - MAX_LINES} lines left out"] if len(lines) > MAX_LINES else []
    return "\n".join(cut + lines[-MAX_LINES:])


def note_time(result, test, seconds):
    if seconds > result.slowest[1]:
        result.slowest = (test, seconds)


def read_gtest_report(report, result):
    for suite in json.loads(report.read_text())["testsuites"]:
        for case in suite["testsuite"]:
            test = f"{suite['name']}.{case['name']}"
            note_time(result, test, float(case.get("time", "0s").rstrip("s")))
            if case.get("failures"):
                text = "\n".join(failure["failure"] for failure in case["failures"])
                result.failures.append((test, tail(text)))
            elif case.get("result") == "SKIPPED":
                result.skipped += 1
            elif case.get("status") == "RUN":
                result.passed += 1


def run_gtest(name, program, folder, slow, environment):
    result = Result(name)
    if not program.exists():
        result.failures.append((name, f"{program} was not built"))
        return result
    report = folder / f"{name}.json"
    command = [program, f"--gtest_output=json:{report}"]
    if not slow:
        command.append("--gtest_filter=-*Slow.*")
    status, output = run(command, environment)
    if report.exists():
        read_gtest_report(report, result)
    else:  # it died before it could report: count what its output shows
        result.passed = len(re.findall(r"^\[       OK \]", output, re.M))
        started = re.findall(r"^\[ RUN      \] (\S+)", output, re.M)
        result.failures.append((started[-1] if started else name, f"{ending(status)}\n{tail(output)}"))
    if status != 0 and not result.failures:
        result.failures.append((name, f"{ending(status)}\n{tail(output)}"))
    return result


def run_pytest(folder, slow, only, environment):
    result = Result("conformance")
    report = folder / "pytest.xml"
    command = [sys.executable, "-m", "pytest", "-q", "--tb=short", f"--junitxml={report}",
               "tests/conformance", "-m", "" if slow else "not slow"]
    if only:
        command += ["-k", only]
    status, output = run(command, environment)
    if report.exists():
        for case in xml.etree.ElementTree.parse(report).getroot().iter("testcase"):
            test = f"{case.get('classname', '').split('.')[-1]}.{case.get('name')}"
            note_time(result, test, float(case.get("time", 0)))
            problem = case.find("failure")
            problem = case.find("error") if problem is None else problem
            if problem is not None:
                result.failures.append((test, tail(problem.text or problem.get("message", ""))))
            elif case.find("skipped") is not None:
                result.skipped += 1
            else:
                result.passed += 1
    for line in re.findall(r"^device .*", output, re.M):
        print(line, flush=True)
    if status not in (0, 5) and not result.failures:  # 5: nothing was selected
        result.failures.append(("pytest", f"{ending(status)}\n{tail(output)}"))
    return result


def gtest_programs(build):
    """(room, program) as CMake registered them, so that a stale binary is not run."""
    listing = subprocess.run(["ctest", "--test-dir", build, "--show-only=json-v1"], check=True,
                             capture_output=True, text=True, stdin=subprocess.DEVNULL).stdout
    tests = json.loads(listing)["tests"]
    return [(test["name"], pathlib.Path(test.get("command", [build / test["name"]])[0]))
            for test in tests]


def require_device(name):
    """The device, where both torch and the program can use it; else the reason ends the run."""
    check = ("import sys, torch; torch.empty(1, device=sys.argv[1])")
    done = subprocess.run([sys.executable, "-c", check, name], capture_output=True, text=True,
                          stdin=subprocess.DEVNULL)
    if done.returncode != 0:
        sys.exit(f"run_tests: --device {name}: torch cannot use it: "
                 f"{done.stderr.strip().splitlines()[-1]}")
    return name


def timed(function, *arguments):
    started = time.monotonic()
    result = function(*arguments)
    result.seconds = time.monotonic() - started
    line = f"{result.name:<12} {result.passed} passed, {len(result.failures)} failed"
    line += f", {result.skipped} skipped" if result.skipped else ""
    line += f"   {result.seconds:.0f} s"
    if result.slowest[1] >= 5:
        line += f", slowest {result.slowest[0]} {result.slowest[1]:.0f} s"
    print(line, flush=True)
    return result


def select(options, folder, environment):
    """The jobs to run, the longest first. --only names rooms, Python test names or 'conformance'."""
    programs = gtest_programs(ROOT / options.build)
    rooms = [p for p in programs if not options.only or options.only == p[0]]
    if options.device:
        rooms = []
    jobs = []
    python_tests = sorted((ROOT / "tests/conformance").glob("test_*.py"))
    if python_tests and not (options.only and rooms):
        key = "" if options.only == "conformance" else options.only
        jobs.append((run_pytest, folder, options.slow, key, environment))
    for name, program in rooms:
        jobs.append((run_gtest, name, program, folder, options.slow, environment))
    return jobs


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--only", default="", help="a room, 'conformance' or part of a Python test's name")
    parser.add_argument("--slow", action="store_true", help="run the slow tests too")
    parser.add_argument("--device", default="", help="cuda or cuda:N: the tests that take a device")
    parser.add_argument("--build", default="build/release")
    parser.add_argument("--at-once", type=int, default=min(2, os.cpu_count() or 1))
    options = parser.parse_args()
    # Each job gets its share of the cores; and no test may reach for a model hub.
    environment = dict(os.environ, HF_HUB_OFFLINE="1", TRANSFORMERS_OFFLINE="1",
                       OMP_NUM_THREADS=str(max(1, (os.cpu_count() or 1) // options.at_once)))
    if options.device:
        environment["PARAPET_TEST_DEVICE"] = require_device(options.device)
    with tempfile.TemporaryDirectory(prefix="parapet-tests-") as folder, \
            concurrent.futures.ThreadPoolExecutor(options.at_once) as pool:
        jobs = select(options, pathlib.Path(folder), environment)
        results = list(pool.map(lambda job: timed(*job), jobs))
    failures = [(r.name, *failure) for r in results for failure in r.failures]
    for room, test, output in failures:
        print(f"\nFAILED {room}: {test}\n{output}")
    passed, skipped = sum(r.passed for r in results), sum(r.skipped for r in results)
    if passed + len(failures) == 0:
        print("\nno test ran", end="")
    print(f"\n{passed} passed, {len(failures)} failed" + (f", {skipped} skipped" if skipped else ""))
    return 1 if failures or passed == 0 else 0


if __name__ == "__main__":
    sys.exit(main())
