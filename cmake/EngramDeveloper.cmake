# SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
# Warnings for the programs of this project. The library's own targets carry none: how strict a
# consumer compiles is the consumer's affair.
function(engram_developer_flags target)
  if(CMAKE_CXX_COMPILER_ID MATCHES "GNU|Clang")
    target_compile_options(${target} PRIVATE -Wall -Wextra -Wpedantic -Wconversion -Wshadow)
    if(ENGRAM_DEVELOPER_MODE)
      target_compile_options(${target} PRIVATE -Werror)
    endif()
  endif()
endfunction()
