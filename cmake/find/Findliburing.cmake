# SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
# Finds liburing and makes liburing::uring: it brings no CMake files.
find_path(liburing_INCLUDE_DIR liburing.h)
find_library(liburing_LIBRARY uring)
mark_as_advanced(liburing_INCLUDE_DIR liburing_LIBRARY)
include(FindPackageHandleStandardArgs)
find_package_handle_standard_args(liburing REQUIRED_VARS liburing_LIBRARY liburing_INCLUDE_DIR)
if(liburing_FOUND AND NOT TARGET liburing::uring)
  add_library(liburing::uring UNKNOWN IMPORTED)
  set_target_properties(
    liburing::uring PROPERTIES IMPORTED_LOCATION ${liburing_LIBRARY} INTERFACE_INCLUDE_DIRECTORIES
                                                     ${liburing_INCLUDE_DIR})
endif()
