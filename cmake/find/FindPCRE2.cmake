# SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
# Finds PCRE2 and makes PCRE2::8BIT: Debian's and Ubuntu's packages bring no CMake files.
find_package(PCRE2 ${PCRE2_FIND_VERSION} CONFIG QUIET)
if(NOT TARGET PCRE2::8BIT)
  find_path(PCRE2_INCLUDE_DIR pcre2.h)
  find_library(PCRE2_LIBRARY pcre2-8)
  mark_as_advanced(PCRE2_INCLUDE_DIR PCRE2_LIBRARY)
  set(PCRE2_VERSION)
  if(PCRE2_INCLUDE_DIR)
    foreach(part PCRE2_MAJOR PCRE2_MINOR)
      file(STRINGS ${PCRE2_INCLUDE_DIR}/pcre2.h line REGEX "define +${part} +[0-9]+")
      string(REGEX REPLACE ".*define +${part} +([0-9]+).*" "\\1" number "${line}")
      list(APPEND PCRE2_VERSION ${number})
    endforeach()
    list(JOIN PCRE2_VERSION "." PCRE2_VERSION)
  endif()
  include(FindPackageHandleStandardArgs)
  find_package_handle_standard_args(
    PCRE2
    REQUIRED_VARS PCRE2_LIBRARY PCRE2_INCLUDE_DIR
    VERSION_VAR PCRE2_VERSION)
  if(PCRE2_FOUND)
    add_library(PCRE2::8BIT UNKNOWN IMPORTED)
    set_target_properties(
      PCRE2::8BIT PROPERTIES IMPORTED_LOCATION ${PCRE2_LIBRARY} INTERFACE_INCLUDE_DIRECTORIES
                                                      ${PCRE2_INCLUDE_DIR})
  endif()
endif()
