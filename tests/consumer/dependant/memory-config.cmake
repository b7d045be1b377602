# SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
include(CMakeFindDependencyMacro)
find_dependency(engram 0.1)
include(${CMAKE_CURRENT_LIST_DIR}/memory-targets.cmake)
