# SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
# Finds cuBLASLt, a part of the CUDA toolkit that may be absent: CUDA::cublasLt is the toolkit's own.
find_package(CUDAToolkit ${cublasLt_FIND_VERSION} QUIET)
if(TARGET CUDA::cublasLt)
  get_target_property(cublasLt_LIBRARY CUDA::cublasLt IMPORTED_LOCATION)
endif()
include(FindPackageHandleStandardArgs)
find_package_handle_standard_args(
  cublasLt
  REQUIRED_VARS cublasLt_LIBRARY
  VERSION_VAR CUDAToolkit_VERSION)
