"""`make demo`: what it builds, what it says, and which parts it runs; with programs that only pretend."""
import os
import pathlib
import re
import shutil
import subprocess

import pytest

ROOT = pathlib.Path(__file__).resolve().parents[2]


def run(command, folder, **environment):
    # OMP_NUM_THREADS, which the test runner sets, counts as the number of cores.
    unwanted = ("FULL", "FRESH", "SEED", "OUT", "OMP_NUM_THREADS")
    clean = {k: v for k, v in os.environ.items() if k not in unwanted}
    return subprocess.run([str(part) for part in command], cwd=folder, capture_output=True, text=True,
                          stdin=subprocess.DEVNULL, env=dict(clean, **environment))


def program(path, text):
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(text)
    path.chmod(0o755)


# ---- what is built ------------------------------------------------------------


def builds(target):
    """The targets that `make target` gives to the build."""
    done = run(["make", "-n", target, "JOBS=2"], ROOT)
    assert done.returncode == 0, done.stderr
    return [line.split()[3:] for line in done.stdout.splitlines() if line.startswith("tools/build.sh")]


def test_each_target_builds_only_what_it_runs():
    assert builds("demo") == [["parapet"]]
    assert builds("test") == [["parapet", "tests"]]
    assert builds("bench") == [["parapet", "benches"]]
    assert builds("build") == [[]]


def sources_of(target):
    listing = run(["ninja", "-C", ROOT / "build/release", "-t", "commands", target], ROOT)
    assert listing.returncode == 0, listing.stdout
    return re.findall(r" -c (?:\S*/)?((?:src|tests|bench|cmake)/\S+\.cpp)$", listing.stdout, re.M)


def test_the_program_needs_no_source_of_tests_or_benchmarks():
    sources = sources_of("parapet")
    assert "src/parapet/cli/main.cpp" in sources
    assert not [source for source in sources if source.startswith(("tests/", "bench/"))]


def test_the_targets_for_tests_and_benchmarks_hold_every_source():
    tests, benches = set(sources_of("tests")), set(sources_of("benches"))
    for kind in ("*_test.cpp", "*_main.cpp"):
        for source in (ROOT / "tests").rglob(kind):
            assert str(source.relative_to(ROOT)) in tests
    for source in (ROOT / "bench").glob("*_bench.cpp"):
        assert str(source.relative_to(ROOT)) in benches
        assert str(source.relative_to(ROOT)) not in tests


# ---- progress of the build ----------------------------------------------------


@pytest.fixture
def build(tmp_path):
    """Runs tools/build.sh of a checkout whose cmake and ninja are scripts; the latter is given."""
    shutil.copytree(ROOT / "tools", tmp_path / "tools", ignore=shutil.ignore_patterns("__pycache__"))
    shutil.copy(ROOT / "CMakePresets.json", tmp_path)
    program(tmp_path / "bin/cmake", "#!/bin/sh\ntouch build/release/build.ninja\n")

    def go(ninja):
        program(tmp_path / "bin/ninja", "#!/bin/sh\n" + ninja)
        return run(["tools/build.sh", "release", "2", "parapet"], tmp_path, PARAPET_BUILD_LINE_S="0.1",
                   PATH=f"{tmp_path}/bin:{os.environ['PATH']}")
    return go


def test_build_shows_its_count_in_a_log(build):
    done = build('for i in 1 2 3 4; do echo "[$i/4] Building $i"; sleep 0.5; done\necho "$@" >asked\n')
    assert done.returncode == 0, done.stderr
    shown = re.findall(r"build: (\d) of 4 steps, about \d+:\d\d left", done.stdout)
    assert len(shown) >= 2 and shown == sorted(set(shown))
    assert re.search(r"build: done in \d+ s", done.stdout)


def test_build_shows_what_failed(build):
    done = build('echo "[1/4] Building a"\necho "FAILED: b.o"\necho "b.cpp: error: no such thing"\nexit 1\n')
    assert done.returncode == 1
    assert "no such thing" in done.stderr and "build/release/build.log" in done.stderr


# ---- the parts of the demo ----------------------------------------------------

PRETENDER = """#!/usr/bin/env python3
import os, pathlib, sys
words = sys.argv[1:]
out = pathlib.Path(words[words.index("--out") + 1])
with open("calls", "a") as log:
    log.write(" ".join(words) + "\\n")
if " ".join(words[:2]) in os.environ.get("FAILS", "none"):
    (out / "run.json").parent.mkdir(parents=True, exist_ok=True)
    (out / "run.json").touch()
    sys.exit(1)
for product in {"world build": ["zeroshot.json", "labels.jsonl"], "world clip": ["config.json"],
                "train guard": ["run.json", "heads/guard_heads.json"], "report --compare": ["report.html"]
                }.get(" ".join(words[:2]), ["report.json"]):
    (out / product).parent.mkdir(parents=True, exist_ok=True)
    (out / product).touch()
"""


@pytest.fixture
def demo(tmp_path):
    """Runs tools/demo.sh of a checkout whose program only logs what it is asked for."""
    shutil.copytree(ROOT / "tools", tmp_path / "tools", ignore=shutil.ignore_patterns("__pycache__"))
    shutil.copytree(ROOT / "assets", tmp_path / "assets")
    program(tmp_path / "build/release/parapet", PRETENDER)

    def go(*arguments, **environment):
        (tmp_path / "calls").write_text("")
        done = run(["tools/demo.sh", *arguments], tmp_path, **environment)
        done.calls = (tmp_path / "calls").read_text().splitlines()
        return done
    go.folder = tmp_path
    return go


def verbs(done):
    return [" ".join(call.split()[:2]) for call in done.calls]


def test_demo_hardens_and_guards_the_shipped_clip(demo):
    done = demo()
    assert done.returncode == 0, done.stderr
    assert verbs(done) == ["world build", "world clip", "eval retrieval", "harden safe-clip", "world build",
                           "train guard", "eval guard", "report --compare"]
    out = demo.folder / "out/demo"
    for name in ("clip", "safe_clip", "guard"):
        assert (out / name / "report.json").exists()
    assert (out / "clip/run.json").exists()  # how the shipped weights were made
    assert (out / "report.html").exists()
    assert f"--compare out/demo/clip,out/demo/safe_clip,out/demo/guard --out out/demo" in done.calls[-1]


def test_full_demo_trains_from_scratch_and_adds_the_tables(demo):
    done = demo(FULL="1")
    assert done.returncode == 0, done.stderr
    assert verbs(done) == ["world build", "train clip", *["harden safe-clip"] * 3, "world build",
                           *["train guard"] * 2, "eval guard", "report --compare"]
    assert "--compare out/demo/guard_hardened" in done.calls[-2]


def test_time_is_said_before_and_with_each_part(demo):
    plan = demo("--plan")
    assert plan.calls == [] and not (demo.folder / "out").exists()
    assert re.search(r"demo: 6 parts, about [1-8] min on", plan.stdout), plan.stdout
    assert "FULL=1" in plan.stdout
    done = demo()
    parts = re.findall(r"== part (\d) of 6, .*: about \d+:\d\d, to the end about (\d+):(\d\d)", done.stdout)
    assert [int(number) for number, *_ in parts] == [1, 2, 3, 4, 5, 6]
    left = [60 * int(minutes) + int(seconds) for _, minutes, seconds in parts]
    # Pretended parts take a second: the rest was expected to be as quick.
    assert left == sorted(left, reverse=True) and left[1] < left[0] / 2
    assert "0 of 6 parts are still to do" in demo("--plan").stdout
    assert "6 parts" in demo("--plan", FRESH="1").stdout


def test_finished_parts_are_kept_and_a_killed_one_is_resumed(demo):
    broken = demo(FAILS="harden safe-clip")
    assert broken.returncode != 0 and verbs(broken)[-1] == "harden safe-clip"
    done = demo()
    assert done.returncode == 0, done.stderr
    assert verbs(done)[0] == "harden safe-clip" and "--resume" in done.calls[0]
    assert verbs(demo()) == ["report --compare"]
    assert len(verbs(demo(FRESH="1"))) == 8


def test_the_two_kinds_do_not_mix(demo):
    short = demo()
    full = demo(FULL="1")
    assert "train clip" in verbs(full) and (demo.folder / "out/demo.short/kind").exists()
    assert (demo.folder / "out/demo/safe_clip_published/report.json").exists()
    back = demo()
    assert verbs(back) == ["report --compare"] and verbs(short) != verbs(back)
    assert not (demo.folder / "out/demo/safe_clip_published").exists()
    assert (demo.folder / "out/demo.full/safe_clip_published").exists()
    # Results of a version that knew one kind only are those of the full demo.
    (demo.folder / "out/demo.full/kind").unlink()
    (demo.folder / "out/demo").rename(demo.folder / "elsewhere")
    (demo.folder / "out/demo.full").rename(demo.folder / "out/demo")
    assert verbs(demo(FULL="1")) == ["report --compare"]


def test_folder_and_seed_are_the_users(demo):
    done = demo(OUT="out/my demo", SEED="3")
    assert done.returncode == 0, done.stderr
    assert (demo.folder / "out/my demo/report.html").exists()
    assert [re.search(r"--seed (\d+)", call).group(1) for call in done.calls if "world build" in call] == \
        ["1003", "2003"]
