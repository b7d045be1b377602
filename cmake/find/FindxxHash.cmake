# SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
# Finds xxHash and makes xxHash::xxhash: Debian's and Ubuntu's packages bring no CMake files.
find_package(xxHash ${xxHash_FIND_VERSION} CONFIG QUIET)
if(NOT TARGET xxHash::xxhash)
  find_path(xxHash_INCLUDE_DIR xxhash.h)
  find_library(xxHash_LIBRARY xxhash)
  mark_as_advanced(xxHash_INCLUDE_DIR xxHash_LIBRARY)
  set(xxHash_VERSION)
  if(xxHash_INCLUDE_DIR)
    foreach(part XXH_VERSION_MAJOR XXH_VERSION_MINOR XXH_VERSION_RELEASE)
      file(STRINGS ${xxHash_INCLUDE_DIR}/xxhash.h line REGEX "define +${part} +[0-9]+")
      string(REGEX REPLACE ".*define +${part} +([0-9]+).*" "\\1" number "${line}")
      list(APPEND xxHash_VERSION ${number})
    endforeach()
    list(JOIN xxHash_VERSION "." xxHash_VERSION)
  endif()
  include(FindPackageHandleStandardArgs)
  find_package_handle_standard_args(
    xxHash
    REQUIRED_VARS xxHash_LIBRARY xxHash_INCLUDE_DIR
    VERSION_VAR xxHash_VERSION)
  if(xxHash_FOUND)
    add_library(xxHash::xxhash UNKNOWN IMPORTED)
    set_target_properties(
      xxHash::xxhash PROPERTIES IMPORTED_LOCATION ${xxHash_LIBRARY} INTERFACE_INCLUDE_DIRECTORIES
                                                      ${xxHash_INCLUDE_DIR})
  endif()
endif()
