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
# NCCL and CUDA headers come as wheels beside torch's. Without them, or where they do not compile
# together, NCCL is left out and training on several GPUs says so.
set(PARAPET_NCCL_INCLUDES "")
if(PARAPET_HAS_CUDA)
  include(CheckCXXSourceCompiles)
  file(GLOB _nccl_includes "${PARAPET_TORCH}/../nvidia/*/include")
  list(APPEND _nccl_includes /usr/local/cuda/include)
  set(CMAKE_REQUIRED_INCLUDES "${PARAPET_TORCH}/include" "${PARAPET_TORCH}/include/torch/csrc/api/include" ${_nccl_includes})
  set(CMAKE_REQUIRED_DEFINITIONS -DUSE_DISTRIBUTED -DUSE_C10D_NCCL)
  set(CMAKE_TRY_COMPILE_TARGET_TYPE STATIC_LIBRARY)
  check_cxx_source_compiles("#include <torch/csrc/distributed/c10d/ProcessGroupNCCL.hpp>
    int size() { return sizeof(c10d::ProcessGroupNCCL); }" PARAPET_NCCL_COMPILES)
  unset(CMAKE_TRY_COMPILE_TARGET_TYPE)
  unset(CMAKE_REQUIRED_DEFINITIONS)
  unset(CMAKE_REQUIRED_INCLUDES)
  if(PARAPET_NCCL_COMPILES)
    set(PARAPET_NCCL_INCLUDES ${_nccl_includes})
  endif()
  message(STATUS "NCCL: ${PARAPET_NCCL_COMPILES}")
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
