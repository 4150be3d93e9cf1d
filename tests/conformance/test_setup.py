"""Set-up: torch in every shape it comes in, the lists of packages, and incremental runs."""
import os
import pathlib
import re
import shutil
import subprocess
import sys

import pytest

ROOT = pathlib.Path(__file__).resolve().parents[2]


@pytest.fixture(scope="module")
def wheel():
    found = sorted((ROOT / ".venv/lib").glob("python3*/site-packages/torch"))
    assert found, "run `make setup`"
    return found[0]


def configure(folder, torch, main="int main() {}"):
    """CMake over a tiny project that includes only ParapetTorch.cmake."""
    source = folder / "project"
    source.mkdir()
    (source / "main.cpp").write_text(main)
    (source / "CMakeLists.txt").write_text(
        "cmake_minimum_required(VERSION 3.25)\n"
        "project(tiny LANGUAGES CXX)\n"
        f"include({ROOT}/cmake/ParapetTorch.cmake)\n"
        "add_executable(tiny main.cpp)\n"
        "set_target_properties(tiny PROPERTIES BUILD_RPATH \"${PARAPET_TORCH_RPATH}\" CXX_STANDARD 20)\n"
        "target_link_libraries(tiny PRIVATE parapet::torch)\n")
    return subprocess.run(
        ["cmake", "-S", source, "-B", folder / "build", "-G", "Ninja", f"-DPARAPET_TORCH={torch}"],
        capture_output=True, text=True, stdin=subprocess.DEVNULL)


def libraries_of(program):
    return subprocess.run(["readelf", "-d", program], capture_output=True, text=True,
                          check=True).stdout


def test_wheel_of_this_machine_configures(tmp_path, wheel):
    done = configure(tmp_path, wheel)
    assert done.returncode == 0, done.stderr
    assert re.search(r"Torch 2\.\d+ in ", done.stdout)


@pytest.fixture
def cuda_wheel(tmp_path, wheel):
    """The layout of the CUDA wheel: the CPU wheel's files, two libraries more, runtimes beside."""
    site = tmp_path / "site-packages"
    torch = site / "torch"
    (torch / "lib").mkdir(parents=True)
    for name in ("include", "share"):
        (torch / name).symlink_to(wheel / name)
    for library in (wheel / "lib").iterdir():
        (torch / "lib" / library.name).symlink_to(library)
    runtime = site / "nvidia/cuda_runtime/lib"
    runtime.mkdir(parents=True)

    def shared(path, symbol, *more):
        subprocess.run(["g++", "-shared", "-fPIC", "-x", "c++", "-", "-x", "none",
                        "-o", path, *more], check=True,
                       input=f"extern \"C\" int {symbol}() {{ return 1; }}", text=True)

    shared(runtime / "libfakecudart.so.13", "fake_cudart", "-Wl,-soname,libfakecudart.so.13")
    for name in ("c10_cuda", "torch_cuda"):
        # Each needs the runtime, which only the sibling folder has, and says where, as the wheel's do.
        shared(torch / f"lib/lib{name}.so", f"fake_{name}", f"-Wl,-soname,lib{name}.so",
               "-Wl,--no-as-needed", runtime / "libfakecudart.so.13",
               "-Wl,-rpath,$ORIGIN/../../nvidia/cuda_runtime/lib")
    return torch


def test_cuda_wheel_configures_and_links_without_the_toolkit(tmp_path, cuda_wheel):
    without_toolkit = configure(tmp_path, cuda_wheel)
    assert without_toolkit.returncode == 0, without_toolkit.stderr
    assert "CUDA: ON" in without_toolkit.stdout
    built = subprocess.run(["ninja", "-C", tmp_path / "build"], capture_output=True, text=True,
                           stdin=subprocess.DEVNULL)
    assert built.returncode == 0, built.stdout
    program = tmp_path / "build/tiny"
    # The kernels register themselves when loaded, so the library must be named although unused.
    assert "libtorch_cuda.so" in libraries_of(program)
    subprocess.run([program], check=True)


def headers(site, *names):
    for name in names:
        path = site / "nvidia/cu13/include" / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.touch()


def package(site, name, version):
    folder = site / f"{name.replace('-', '_')}-{version}.dist-info"
    folder.mkdir()
    (folder / "METADATA").write_text(f"Metadata-Version: 2.1\nName: {name}\nVersion: {version}\n")


@pytest.fixture
def cuda_headers():
    sys.path.insert(0, str(ROOT / "tools/setup"))
    import cuda_headers
    yield cuda_headers.missing_headers
    sys.path.pop(0)


def test_headers_that_a_cuda_wheel_leaves_out_are_named(tmp_path, cuda_headers):
    site = tmp_path / "site-packages"
    (site / "torch/lib").mkdir(parents=True)
    assert cuda_headers(site) == []  # a CPU wheel
    (site / "torch/lib/libtorch_cuda.so").touch()
    # What the wheel of torch 2.13 brings.
    headers(site, "cuda_runtime_api.h", "cublas_v2.h", "cusparse.h", "cusolver_common.h")
    package(site, "cuda-toolkit", "13.0.3")
    assert cuda_headers(site) == ["cuda-toolkit[cccl,crt]==13.0.3"]
    headers(site, "crt/host_config.h", "nv/target")
    assert cuda_headers(site) == []


def test_headers_of_cuda_12_have_packages_of_their_own(tmp_path, cuda_headers):
    site = tmp_path / "site-packages"
    (site / "torch/lib").mkdir(parents=True)
    (site / "torch/lib/libtorch_cuda.so").touch()
    headers(site, "cuda_runtime_api.h", "cublas_v2.h", "cusparse.h", "cusolver_common.h")
    package(site, "nvidia-cuda-runtime-cu12", "12.6.77")
    assert cuda_headers(site) == ["nvidia-cuda-nvcc-cu12==12.6.*", "nvidia-cuda-cccl-cu12==12.6.*"]


def test_folder_without_torch_says_what_to_do(tmp_path):
    done = configure(tmp_path, tmp_path)
    assert done.returncode != 0
    assert "make setup TORCH=/path/to/libtorch" in done.stderr


def test_old_torch_is_refused(tmp_path, wheel):
    old = tmp_path / "libtorch"
    (old / "lib").mkdir(parents=True)
    (old / "lib/libtorch_cpu.so").touch()
    version = old / "include/torch/csrc/api/include/torch"
    version.mkdir(parents=True)
    (version / "version.h").write_text("#define TORCH_VERSION_MAJOR 2\n#define TORCH_VERSION_MINOR 4\n")
    done = configure(tmp_path, old)
    assert done.returncode != 0
    assert "2.6 or later" in done.stderr


def setup_copy(tmp_path):
    """A checkout of its own for setup.sh, with everything slow already in place."""
    copy = tmp_path / "checkout"
    shutil.copytree(ROOT / "tools/setup", copy / "tools/setup")
    (copy / ".venv").symlink_to(ROOT / ".venv")
    state = copy / ".cache/setup"
    state.mkdir(parents=True)
    shutil.copy(ROOT / ".cache/setup/python", state / "python")
    return copy


def run_setup(copy, *arguments, **environment):
    return subprocess.run([copy / "tools/setup/setup.sh", *arguments], capture_output=True, text=True,
                          stdin=subprocess.DEVNULL, env=dict(os.environ, **environment))


def test_second_setup_does_nothing(tmp_path):
    copy = setup_copy(tmp_path)
    assert run_setup(copy).returncode == 0
    again = run_setup(copy)
    assert again.returncode == 0
    assert again.stdout + again.stderr == ""
    vocabulary = copy / ".cache/assets/bpe_simple_vocab_16e6.txt.gz"
    assert vocabulary.stat().st_size > 1_000_000


def test_own_libtorch_is_remembered_and_forgotten(tmp_path):
    copy = setup_copy(tmp_path)
    own = tmp_path / "my libtorch"
    refused = run_setup(copy, "--torch", str(own))
    assert refused.returncode != 0
    assert "no libtorch in" in refused.stderr
    (own / "lib").mkdir(parents=True)
    (own / "lib/libtorch_cpu.so").touch()
    assert run_setup(copy, "--torch", str(own)).returncode == 0
    assert (copy / ".cache/torch-dir").read_text().strip() == str(own)
    assert run_setup(copy, "--torch", "wheel").returncode == 0
    assert not (copy / ".cache/torch-dir").exists()


def test_failing_installer_is_reported(tmp_path):
    copy = setup_copy(tmp_path)
    (copy / ".cache/setup/python").unlink()
    (copy / "tools/setup/requirements.txt").write_text("torch==2.13.0\nno-such-package-of-ours==1\n")
    # No index at all stands for a machine without network.
    done = run_setup(copy, PIP_NO_INDEX="1", PIP_FIND_LINKS="")
    assert done.returncode != 0
    assert "does pip reach a package index?" in done.stderr
    assert not (copy / ".cache/setup/python").exists()


def test_requirements_are_exact_and_carry_no_addresses():
    for name in ("requirements.txt", "requirements-no-deps.txt"):
        for line in (ROOT / "tools/setup" / name).read_text().splitlines():
            line = line.split("#")[0].strip()
            assert not line or re.fullmatch(r"[A-Za-z0-9_.-]+==[0-9][A-Za-z0-9.]*", line), line
    for name in ("package.json", "package-lock.json"):
        file = ROOT / name
        if file.exists():
            text = file.read_text()
            assert '"resolved"' not in text and "://registry" not in text


def test_installed_packages_are_the_pinned_ones():
    lines = (ROOT / "tools/setup/requirements.txt").read_text().splitlines()
    pinned = {line.split("==")[0].lower(): line.split("==")[1] for line in lines if "==" in line}
    listing = subprocess.run([sys.executable, "-m", "pip", "freeze"], capture_output=True, text=True,
                             check=True).stdout
    installed = dict(line.lower().split("==") for line in listing.splitlines() if "==" in line)
    for name in ("torch", "transformers", "peft", "safetensors", "tokenizers", "numpy", "pillow"):
        assert installed[name].split("+")[0] == pinned[name]
