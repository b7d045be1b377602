# SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
# Install rules: one export set per component, so that find_package(engram COMPONENTS ...) looks up
# the dependencies of what was asked for and no others.
include(GNUInstallDirs)
include(CMakePackageConfigHelpers)

set(engram_cmake_dir ${CMAKE_INSTALL_DATADIR}/cmake/engram)
get_property(components GLOBAL PROPERTY ENGRAM_COMPONENTS)
set(engram_needs "")
foreach(component IN LISTS components)
  install(
    TARGETS engram_${component}
    EXPORT engram-${component}-targets
    FILE_SET HEADERS DESTINATION ${CMAKE_INSTALL_INCLUDEDIR}
    FILE_SET bodies DESTINATION ${CMAKE_INSTALL_INCLUDEDIR})
  install(
    EXPORT engram-${component}-targets
    NAMESPACE engram::
    DESTINATION ${engram_cmake_dir})

  get_target_property(wings engram_${component} ENGRAM_WINGS)
  if(wings)
    string(APPEND engram_needs "set(_engram_${component}_wings ${wings})\n")
  endif()
  get_target_property(needs engram_${component} ENGRAM_NEEDS)
  if(needs)
    cmake_parse_arguments(pin "" "APT;TARGET" "FIND" ${engram_pin_${needs}})
    string(APPEND engram_needs "set(_engram_${component}_needs ${needs} ${pin_FIND})\n"
           "set(_engram_${component}_links ${pin_TARGET})\n" "set(_engram_${component}_apt ${pin_APT})\n")
    if(EXISTS ${PROJECT_SOURCE_DIR}/cmake/find/Find${needs}.cmake)
      install(FILES cmake/find/Find${needs}.cmake DESTINATION ${engram_cmake_dir}/find)
    endif()
  endif()
endforeach()

configure_package_config_file(
  cmake/engram-config.cmake.in engram-config.cmake
  INSTALL_DESTINATION ${engram_cmake_dir}
  NO_SET_AND_CHECK_MACRO NO_CHECK_REQUIRED_COMPONENTS_MACRO)
write_basic_package_version_file(
  engram-config-version.cmake
  COMPATIBILITY SameMinorVersion
  ARCH_INDEPENDENT)
install(FILES ${PROJECT_BINARY_DIR}/engram-config.cmake
              ${PROJECT_BINARY_DIR}/engram-config-version.cmake cmake/engram-cuda20.cmake
        DESTINATION ${engram_cmake_dir})
install(FILES LICENSE DESTINATION ${CMAKE_INSTALL_DOCDIR})
