# SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
# cmake -P: configures, builds and runs one consumer project; or, with REFUSED, expects the
# configuration to fail with that sentence.
#   SOURCE BUILD GENERATOR  where; OPTIONS  -D... for the project (a list)
#   REFUSED   sentence that the failed configuration prints
#   INSTALL   prefix to install to instead of running the program `app`
file(REMOVE_RECURSE ${BUILD})
execute_process(
  COMMAND ${CMAKE_COMMAND} -S ${SOURCE} -B ${BUILD} -G ${GENERATOR} ${OPTIONS}
  RESULT_VARIABLE result OUTPUT_VARIABLE output ERROR_VARIABLE output)
if(REFUSED)
  string(REGEX REPLACE "[ \n\t]+" " " flat "${output}")
  string(FIND "${flat}" "${REFUSED}" at)
  if(result EQUAL 0 OR at EQUAL -1)
    message(FATAL_ERROR "expected a refusal with the sentence\n  ${REFUSED}\ngot (${result})\n${output}")
  endif()
  message("refused as it should be: ${REFUSED}")
  return()
endif()
if(NOT result EQUAL 0)
  message(FATAL_ERROR "configuring ${SOURCE} failed\n${output}")
endif()
execute_process(COMMAND ${CMAKE_COMMAND} --build ${BUILD} COMMAND_ERROR_IS_FATAL ANY)
if(INSTALL)
  execute_process(COMMAND ${CMAKE_COMMAND} --install ${BUILD} --prefix ${INSTALL}
                  COMMAND_ERROR_IS_FATAL ANY)
else()
  execute_process(COMMAND ${BUILD}/app COMMAND_ERROR_IS_FATAL ANY)
endif()
