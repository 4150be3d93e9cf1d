#!/usr/bin/env python3
"""Names the packages that bring the CUDA headers which a CUDA wheel of torch leaves out.

Run by the Python that has torch: one requirement a line, of the very version of the CUDA runtime
that torch stands on. Nothing is printed for a CPU wheel, or when every header is there. NCCL's
process group and CUDA graphs are compiled only with all of them.
"""
import importlib.metadata
import pathlib
import sysconfig

# A header that shows whether the part is there, and the part's name among NVIDIA's packages.
PARTS = {"cuda_runtime_api.h": "cudart", "cublas_v2.h": "cublas", "cusparse.h": "cusparse",
         "cusolver_common.h": "cusolver", "crt/host_config.h": "crt", "nv/target": "cccl"}
# CUDA 12 has no package of all; its compiler's package holds crt/.
CUDA_12 = {"cudart": "cuda-runtime", "cublas": "cublas", "cusparse": "cusparse",
           "cusolver": "cusolver", "crt": "cuda-nvcc", "cccl": "cuda-cccl"}


def version_of(package, site):
    for found in importlib.metadata.distributions(name=package, path=[str(site)]):
        return found.version
    return None


def missing_headers(site):
    """Requirements for the site-packages folder `site`, a pathlib.Path."""
    if not (site / "torch/lib/libtorch_cuda.so").exists():
        return []
    includes = list((site / "nvidia").glob("*/include"))
    parts = [part for header, part in PARTS.items()
             if not any((include / header).exists() for include in includes)]
    if not parts:
        return []
    toolkit = version_of("cuda-toolkit", site)
    if toolkit:
        return [f"cuda-toolkit[{','.join(sorted(parts))}]=={toolkit}"]
    runtime = version_of("nvidia-cuda-runtime-cu12", site)
    if runtime:
        release = ".".join(runtime.split(".")[:2])
        return [f"nvidia-{CUDA_12[part]}-cu12=={release}.*" for part in parts]
    return []


if __name__ == "__main__":
    for requirement in missing_headers(pathlib.Path(sysconfig.get_paths()["purelib"])):
        print(requirement)
