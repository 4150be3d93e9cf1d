# Imported target parapet::torch from a torch wheel or a libtorch folder.
#
# Torch's own TorchConfig.cmake enables the CUDA language when the wheel was built with CUDA, which
# fails on a machine without the toolkit. We need only headers and shared libraries, so the target
# is written here; it works for the CPU wheel, the CUDA wheel and a stand-alone libtorch.
set(PARAPET_TORCH "" CACHE PATH "Folder with include/ and lib/libtorch.so (default: the wheel in .venv)")
if(NOT PARAPET_TORCH)
  file(GLOB _wheel "${CMAKE_SOURCE_DIR}/.venv/lib/python3*/site-packages/torch")
  if(_wheel)
    list(GET _wheel 0 PARAPET_TORCH)
  endif()
endif()
if(NOT EXISTS "${PARAPET_TORCH}/lib/libtorch_cpu.so")
  message(FATAL_ERROR "No libtorch in '${PARAPET_TORCH}'. Run `make setup`, or `make setup TORCH=/path/to/libtorch`.")
endif()
file(STRINGS "${PARAPET_TORCH}/include/torch/headeronly/version.h" _version_lines REGEX "define TORCH_VERSION_(MAJOR|MINOR) ")
if(NOT _version_lines)
  file(STRINGS "${PARAPET_TORCH}/include/torch/csrc/api/include/torch/version.h" _version_lines REGEX "define TORCH_VERSION_(MAJOR|MINOR) ")
endif()
string(REGEX MATCH "MAJOR ([0-9]+)" _ "${_version_lines}")
set(_major ${CMAKE_MATCH_1})
string(REGEX MATCH "MINOR ([0-9]+)" _ "${_version_lines}")
set(_minor ${CMAKE_MATCH_1})
if("${_major}.${_minor}" VERSION_LESS 2.6)
  message(FATAL_ERROR "Torch ${_major}.${_minor} in '${PARAPET_TORCH}' is too old: Parapet needs 2.6 or later.")
endif()

# The C++ ABI the wheel was built with (old CPU wheels used the pre-C++11 one).
set(_abi 1)
if(EXISTS "${PARAPET_TORCH}/share/cmake/Torch/TorchConfig.cmake")
  file(STRINGS "${PARAPET_TORCH}/share/cmake/Torch/TorchConfig.cmake" _abi_line REGEX "_GLIBCXX_USE_CXX11_ABI=[01]")
  if(_abi_line MATCHES "_GLIBCXX_USE_CXX11_ABI=([01])")
    set(_abi ${CMAKE_MATCH_1})
  endif()
endif()

set(_torch_libs "${PARAPET_TORCH}/lib/libtorch_cpu.so" "${PARAPET_TORCH}/lib/libc10.so")
set(PARAPET_HAS_CUDA OFF)
if(EXISTS "${PARAPET_TORCH}/lib/libtorch_cuda.so")
  set(PARAPET_HAS_CUDA ON)
  # --no-as-needed: libtorch_cuda registers its kernels when loaded; nothing references it by name.
  list(PREPEND _torch_libs "-Wl,--no-as-needed" "${PARAPET_TORCH}/lib/libtorch_cuda.so" "${PARAPET_TORCH}/lib/libc10_cuda.so" "-Wl,--as-needed")
endif()
# Headers of NCCL and CUDA come as wheels beside torch's; those that a CUDA wheel of torch leaves out
# are named by tools/setup/cuda_headers.py, and the set-up installs them. Where a part does not
# compile, it is left out, and what needs it says so: training on several GPUs (NCCL), CUDA graphs.
set(PARAPET_CUDA_TOOLKIT "/usr/local/cuda" CACHE PATH "CUDA toolkit whose headers are used where the wheels have none")
set(PARAPET_CUDA_INCLUDES "")
set(PARAPET_CUDA_ISYSTEM "")
if(PARAPET_HAS_CUDA)
  include(CheckCXXSourceCompiles)
  file(GLOB PARAPET_CUDA_INCLUDES "${PARAPET_TORCH}/../nvidia/*/include")
  if(PARAPET_CUDA_TOOLKIT)
    list(APPEND PARAPET_CUDA_INCLUDES "${PARAPET_CUDA_TOOLKIT}/include")
  endif()
  # As system headers, so that their warnings are not ours.
  list(TRANSFORM PARAPET_CUDA_INCLUDES PREPEND "-isystem" OUTPUT_VARIABLE PARAPET_CUDA_ISYSTEM)
  set(CMAKE_REQUIRED_INCLUDES "${PARAPET_TORCH}/include" "${PARAPET_TORCH}/include/torch/csrc/api/include" ${PARAPET_CUDA_INCLUDES})
  set(CMAKE_TRY_COMPILE_TARGET_TYPE STATIC_LIBRARY)
  set(CMAKE_REQUIRED_DEFINITIONS -DUSE_DISTRIBUTED -DUSE_C10D_NCCL)
  check_cxx_source_compiles("#include <torch/csrc/distributed/c10d/ProcessGroupNCCL.hpp>
    int size() { return sizeof(c10d::ProcessGroupNCCL); }" PARAPET_NCCL_COMPILES)
  unset(CMAKE_REQUIRED_DEFINITIONS)
  check_cxx_source_compiles("#include <ATen/cuda/CUDAGraph.h>
    #include <c10/cuda/CUDAGuard.h>
    int size() { return sizeof(at::cuda::CUDAGraph); }" PARAPET_CUDA_GRAPHS_COMPILE)
  unset(CMAKE_TRY_COMPILE_TARGET_TYPE)
  unset(CMAKE_REQUIRED_INCLUDES)
  # CUDA's own functions are called there.
  set(_places "${PARAPET_TORCH}/../nvidia/*/lib/libcudart.so.*" "${PARAPET_TORCH}/lib/libcudart*.so*")
  if(PARAPET_CUDA_TOOLKIT)
    list(APPEND _places "${PARAPET_CUDA_TOOLKIT}/lib64/libcudart.so")
  endif()
  file(GLOB _cudart ${_places})
  if(PARAPET_CUDA_GRAPHS_COMPILE AND _cudart)
    list(GET _cudart 0 _cudart)
    list(APPEND _torch_libs "${_cudart}")
  else()
    set(PARAPET_CUDA_GRAPHS_COMPILE OFF)
  endif()
  message(STATUS "NCCL: ${PARAPET_NCCL_COMPILES}, CUDA graphs: ${PARAPET_CUDA_GRAPHS_COMPILE}")
  if(NOT PARAPET_NCCL_COMPILES OR NOT PARAPET_CUDA_GRAPHS_COMPILE)
    message(STATUS "Headers are missing: run tools/setup/cuda_headers.py with torch's Python and install what it names")
  endif()
endif()
# The CUDA wheel finds its runtime libraries in sibling nvidia/*/lib folders.
file(GLOB _nvidia "${PARAPET_TORCH}/../nvidia/*/lib")
set(PARAPET_TORCH_RPATH "${PARAPET_TORCH}/lib" ${_nvidia})

add_library(parapet_torch INTERFACE)
add_library(parapet::torch ALIAS parapet_torch)
target_include_directories(parapet_torch SYSTEM INTERFACE
  "${PARAPET_TORCH}/include" "${PARAPET_TORCH}/include/torch/csrc/api/include")
target_compile_definitions(parapet_torch INTERFACE _GLIBCXX_USE_CXX11_ABI=${_abi} USE_DISTRIBUTED USE_C10D_GLOO)
foreach(_dir ${_nvidia})
  target_link_options(parapet_torch INTERFACE "-Wl,-rpath-link,${_dir}")
endforeach()
target_link_libraries(parapet_torch INTERFACE ${_torch_libs})
message(STATUS "Torch ${_major}.${_minor} in ${PARAPET_TORCH} (CUDA: ${PARAPET_HAS_CUDA})")
