# SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
# Install rules: one export set per component, so that find_package(engram COMPONENTS ...) looks up
# the dependencies of what was asked for and no others.
include(GNUInstallDirs)
include(CMakePackageConfigHelpers)

set(engram_cmake_dir ${CMAKE_INSTALL_DATADIR}/cmake/engram)
get_property(components GLOBAL PROPERTY ENGRAM_COMPONENTS)
set(engram_needs "")
set(packages "")
foreach(component IN LISTS components)
  install(
    TARGETS engram_${component}
    EXPORT engram-${component}-targets
    FILE_SET HEADERS DESTINATION ${CMAKE_INSTALL_INCLUDEDIR}
    FILE_SET cuda_headers DESTINATION ${CMAKE_INSTALL_INCLUDEDIR})
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
    string(APPEND engram_needs "set(_engram_${component}_needs ${needs})\n")
    list(APPEND packages ${needs})
  endif()
endforeach()
list(REMOVE_DUPLICATES packages)
foreach(package IN LISTS packages)
  cmake_parse_arguments(pin "" "APT;TARGET" "FIND" ${engram_pin_${package}})
  string(APPEND engram_needs "set(_engram_find_${package} ${pin_FIND})\n"
         "set(_engram_target_${package} ${pin_TARGET})\n" "set(_engram_apt_${package} ${pin_APT})\n")
  if(EXISTS ${PROJECT_SOURCE_DIR}/cmake/find/Find${package}.cmake)
    install(FILES cmake/find/Find${package}.cmake DESTINATION ${engram_cmake_dir}/find)
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
