# SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
# Every package that anything here needs: what find_package calls it, the target it gives, the
# Debian and Ubuntu package that holds it, and what, if anything, is downloaded where the system
# lacks it.
#
# The archives are those of the projects' releases; each SHA-256 is the one under which Debian keeps
# the same archive, and CLI11's is that of the archive remade from the tag with git.

set(engram_pin_Eigen3
    TARGET Eigen3::Eigen FIND 3.4 APT libeigen3-dev
    URL https://gitlab.com/libeigen/eigen/-/archive/3.4.0/eigen-3.4.0.tar.bz2
    SHA256 b4c198460eba6f28d34894e3a5710998818515104d6e74e5cc331ce31e46e626
    SETTINGS EIGEN_BUILD_DOC=OFF EIGEN_BUILD_PKGCONFIG=OFF)
set(engram_pin_ICU
    TARGET ICU::uc FIND 70 COMPONENTS uc APT libicu-dev
    URL https://github.com/unicode-org/icu/releases/download/release-72-1/icu4c-72_1-src.tgz
    SHA256 a2d2d38217092a7ed56635e34467f92f976b370e20182ad325edea6681a71d68)
set(engram_pin_PCRE2
    TARGET PCRE2::8BIT MADE pcre2-8-static FIND 10.40 APT libpcre2-dev
    URL https://github.com/PCRE2Project/pcre2/releases/download/pcre2-10.42/pcre2-10.42.tar.gz
    SHA256 c33b418e3b936ee3153de2c61cc638e7e4fe3156022a5c77d0711bcbb9d64f1f
    SETTINGS PCRE2_BUILD_TESTS=OFF PCRE2_BUILD_PCRE2GREP=OFF PCRE2_SHOW_REPORT=OFF
             PCRE2_SUPPORT_JIT=ON)
set(engram_pin_nlohmann_json
    TARGET nlohmann_json::nlohmann_json FIND 3.10 APT nlohmann-json3-dev
    URL https://github.com/nlohmann/json/archive/refs/tags/v3.11.3.tar.gz
    SHA256 0d8ef5af7f9794e3263480193c491549b2ba6cc74bb018906202ada498a79406
    SETTINGS JSON_Install=OFF JSON_BuildTests=OFF)
set(engram_pin_CLI11
    TARGET CLI11::CLI11 FIND 2.1 APT libcli11-dev
    URL https://github.com/CLIUtils/CLI11/archive/refs/tags/v2.4.2.tar.gz
    SHA256 f2d893a65c3b1324c50d4e682c0cdc021dd0477ae2c048544f39eed6654b699a
    SETTINGS CLI11_INSTALL=OFF)
set(engram_pin_xxHash
    TARGET xxHash::xxhash FIND 0.8 APT libxxhash-dev
    URL https://github.com/Cyan4973/xxHash/archive/refs/tags/v0.8.1.tar.gz
    SHA256 3bb6b7d6f30c591dd65aaaff1c8b7a5b94d81687998ca9400082c739a690436c
    SUBDIR cmake_unofficial
    SETTINGS XXHASH_BUILD_XXHSUM=OFF)
set(engram_pin_liburing TARGET liburing::uring APT liburing-dev)
set(engram_pin_CUDAToolkit TARGET CUDA::cudart_static FIND 12.0 APT nvidia-cuda-toolkit)
set(engram_pin_cublasLt TARGET CUDA::cublasLt FIND 12.0 APT nvidia-cuda-toolkit)
set(engram_pin_Catch2
    TARGET Catch2::Catch2WithMain APT catch2
    URL https://github.com/catchorg/Catch2/archive/refs/tags/v3.7.1.tar.gz
    SHA256 c991b247a1a0d7bb9c39aa35faf0fe9e19764213f28ffba3109388e62ee0269c
    SETTINGS CATCH_INSTALL_DOCS=OFF CATCH_INSTALL_EXTRAS=OFF)
set(engram_pin_benchmark
    TARGET benchmark::benchmark_main APT libbenchmark-dev
    URL https://github.com/google/benchmark/archive/refs/tags/v1.9.1.tar.gz
    SHA256 32131c08ee31eeff2c8968d7e874f3cb648034377dfc32a4c377fa8796d84981
    SETTINGS BENCHMARK_ENABLE_TESTING=OFF BENCHMARK_ENABLE_INSTALL=OFF)

# engram_dependency(NAME [TARGET_VARIABLE [OPTION]])
#
# Makes NAME's target known everywhere in the build: from the system, else by download. OPTION is what
# asked for it, to be named where it is missing.
# ENGRAM_FETCH_<NAME>_URL and ENGRAM_FETCH_<NAME>_SHA256 name another archive (a mirror, a file).
function(engram_dependency name)
  cmake_parse_arguments(
    pin "" "TARGET;MADE;APT;URL;SHA256;SUBDIR" "FIND;SETTINGS" ${engram_pin_${name}})
  if(ARGC GREATER 1)
    set(${ARGV1} ${pin_TARGET} PARENT_SCOPE)
  endif()
  if(TARGET ${pin_TARGET})
    return()
  endif()
  list(PREPEND CMAKE_MODULE_PATH ${PROJECT_SOURCE_DIR}/cmake/find)
  find_package(${name} ${pin_FIND} QUIET GLOBAL)
  if(TARGET ${pin_TARGET})
    return()
  endif()

  set(why)
  if(NOT pin_URL)
    set(why "nothing is known to download")
  elseif(NOT ENGRAM_FETCH_DEPENDENCIES)
    set(why "ENGRAM_FETCH_DEPENDENCIES is OFF")
  endif()
  if(why)
    set(what ${name})
    if(pin_FIND)
      list(GET pin_FIND 0 oldest)
      string(APPEND what " ${oldest} or newer")
    endif()
    if(ARGC GREATER 2)
      string(APPEND what ", which ${ARGV2} needs,")
    endif()
    message(FATAL_ERROR "engram: ${what} is not installed and ${why}. "
                        "On Debian and Ubuntu: apt install ${pin_APT}")
  endif()
  foreach(part URL SHA256)
    if(DEFINED ENGRAM_FETCH_${name}_${part})
      set(pin_${part} ${ENGRAM_FETCH_${name}_${part}})
    endif()
  endforeach()
  message(STATUS "engram: ${name} is not installed (Debian, Ubuntu: ${pin_APT}); taking ${pin_URL}")
  include(FetchContent)
  FetchContent_Declare(
    ${name}
    URL ${pin_URL}
    URL_HASH SHA256=${pin_SHA256}
    DOWNLOAD_EXTRACT_TIMESTAMP ON
    SOURCE_SUBDIR ${pin_SUBDIR}
    SYSTEM)
  foreach(setting IN LISTS pin_SETTINGS)
    string(REPLACE "=" ";" setting "${setting}")
    list(GET setting 0 key)
    list(GET setting 1 value)
    set(${key} ${value})
  endforeach()
  set(BUILD_SHARED_LIBS OFF)
  set(BUILD_TESTING OFF)
  set(CMAKE_POLICY_DEFAULT_CMP0077 NEW) # the settings above win over the project's own options
  set(CMAKE_POLICY_VERSION_MINIMUM 3.5) # CMake 4 refuses older projects otherwise
  FetchContent_MakeAvailable(${name})
  if(EXISTS ${PROJECT_SOURCE_DIR}/cmake/build/${name}.cmake) # it has no CMake files of its own
    FetchContent_GetProperties(${name} SOURCE_DIR source)
    include(${PROJECT_SOURCE_DIR}/cmake/build/${name}.cmake)
  elseif(NOT TARGET ${pin_TARGET} AND TARGET ${pin_MADE})
    add_library(${pin_TARGET} ALIAS ${pin_MADE})
  endif()
  if(NOT TARGET ${pin_TARGET})
    message(FATAL_ERROR "engram: ${pin_URL} does not make the target ${pin_TARGET}")
  endif()
endfunction()
