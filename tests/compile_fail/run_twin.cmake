# SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
# cmake -P: compiles TWIN as it is (must work) and with -DENGRAM_MUST_FAIL (must not), and looks in
# the compiler's words for what the file's own comments promise:
#
#   // expect: TEXT            this text, literally
#   // expect-match: REGEX     or this pattern (compilers word their own errors differently)
#   // fail-flags: -std=c++17  further flags for the failing compilation only
#
# COMPILER and FLAGS (a list) are the command line.
file(STRINGS ${TWIN} lines REGEX "^// (expect|expect-match|fail-flags): ")
set(fail_flags "")
foreach(line IN LISTS lines)
  string(REGEX MATCH "^// ([a-z-]+): (.*)$" _ "${line}")
  if(CMAKE_MATCH_1 STREQUAL "fail-flags")
    separate_arguments(fail_flags UNIX_COMMAND "${CMAKE_MATCH_2}")
  endif()
endforeach()

execute_process(COMMAND ${COMPILER} ${FLAGS} ${TWIN} RESULT_VARIABLE result ERROR_VARIABLE output)
if(NOT result EQUAL 0)
  message(FATAL_ERROR "the good twin does not compile:\n${output}")
endif()

execute_process(
  COMMAND ${COMPILER} ${FLAGS} -DENGRAM_MUST_FAIL ${fail_flags} ${TWIN}
  RESULT_VARIABLE result OUTPUT_VARIABLE output ERROR_VARIABLE output)
if(result EQUAL 0)
  message(FATAL_ERROR "the bad twin compiles")
endif()
set(expectations 0)
foreach(line IN LISTS lines)
  string(REGEX MATCH "^// ([a-z-]+): (.*)$" _ "${line}")
  set(kind "${CMAKE_MATCH_1}")
  set(wanted "${CMAKE_MATCH_2}")
  if(kind STREQUAL "fail-flags")
    continue()
  endif()
  math(EXPR expectations "${expectations} + 1")
  set(said FALSE)
  if(kind STREQUAL "expect")
    string(FIND "${output}" "${wanted}" at)
    if(NOT at EQUAL -1)
      set(said TRUE)
    endif()
  elseif(output MATCHES "${wanted}")
    set(said TRUE)
  endif()
  if(NOT said)
    message(FATAL_ERROR "the compiler does not say\n  ${wanted}\nbut\n${output}")
  endif()
  message("refused as it should be: ${wanted}")
endforeach()
if(expectations EQUAL 0)
  message(FATAL_ERROR "${TWIN} has no '// expect: ' comment")
endif()
