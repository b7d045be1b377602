# SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
# Warnings for the programs of this project. The library's own targets carry none: how strict a
# consumer compiles is the consumer's affair.
function(engram_developer_flags target)
  if(CMAKE_CXX_COMPILER_ID MATCHES "GNU|Clang")
    set(cxx -Wall -Wextra -Wpedantic -Wconversion -Wshadow)
    set(cuda -Xcompiler=-Wall,-Wextra)
    if(ENGRAM_DEVELOPER_MODE)
      list(APPEND cxx -Werror)
      list(APPEND cuda -Werror=all-warnings)
    endif()
    target_compile_options(${target} PRIVATE "$<$<COMPILE_LANGUAGE:CUDA>:${cuda}>"
                                             "$<$<NOT:$<COMPILE_LANGUAGE:CUDA>>:${cxx}>")
  endif()
endfunction()
