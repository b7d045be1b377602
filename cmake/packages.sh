# shellcheck shell=bash
# SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
# Sourced by what builds something (examples/run, tests/run): installs what is missing on Debian and
# Ubuntu, after saying so; elsewhere says what to install. Nothing missing: nothing happens, and
# nothing is read from the network.

# What can be asked for: how to see that it is there, and the package that brings it.
declare -A engram_seen_by=(
  [g++]=command:g++
  [cmake]=command:cmake
  [ninja-build]=command:ninja
  [clang]=command:clang++
  [libclang-rt-dev]=fuzzer:clang++
  [clang-format-14]=command:clang-format-14
  [ccache]=command:ccache
  [git]=command:git
  [g++-aarch64-linux-gnu]=command:aarch64-linux-gnu-g++
  [qemu-user]=command:qemu-aarch64
  [g++-mingw-w64-x86-64-posix]=command:x86_64-w64-mingw32-g++-posix
  [libeigen3-dev]=header:eigen3/Eigen/Core
  [libicu-dev]=header:unicode/unorm2.h
  [libpcre2-dev]=header:pcre2.h
  [nlohmann-json3-dev]=header:nlohmann/json.hpp
  [libcli11-dev]=header:CLI/CLI.hpp
  [libxxhash-dev]=header:xxhash.h
  [liburing-dev]=header:liburing.h
  [catch2]="header:catch2/catch.hpp catch2/catch_all.hpp"
  [libbenchmark-dev]=header:benchmark/benchmark.h
)

engram_is_there() {
  local kind=${engram_seen_by[$1]%%:*} what=${engram_seen_by[$1]#*:} header
  case $kind in
    command) command -v "$what" >/dev/null ;;
    header)
      for header in $what; do
        if g++ -E -x c++ -DPCRE2_CODE_UNIT_WIDTH=8 -include "$header" /dev/null >/dev/null 2>&1; then
          return 0
        fi
      done
      return 1
      ;;
    fuzzer)
      echo 'extern "C" int LLVMFuzzerTestOneInput(const char*, unsigned long) { return 0; }' |
        "$what" -x c++ -fsanitize=fuzzer,address,undefined - -o /dev/null >/dev/null 2>&1
      ;;
  esac
}

# engram_packages NEEDED... [-- USEFUL...]: needed ones are there on return, or the script has ended
# with exit code 2. Useful ones are installed where the system offers them.
engram_packages() {
  local missing=() useful=false package
  for package in "$@"; do
    if [ "$package" = -- ]; then
      useful=true
    elif ! engram_is_there "$package"; then
      if $useful && ! engram_offered "$package"; then continue; fi
      missing+=("$package")
    fi
  done

  if [ ${#missing[@]} -gt 0 ]; then
    local as_root=() install=(apt-get install --yes --no-install-recommends "${missing[@]}")
    echo "Missing here: ${missing[*]}"
    if ! command -v apt-get >/dev/null; then
      echo "This script installs packages on Debian and Ubuntu only. There, the command would be"
      echo "    ${install[*]}"
      echo "Please install the same for your system, then run this again."
      exit 2
    fi
    if [ "$(id -u)" != 0 ]; then
      if ! command -v sudo >/dev/null || ! { [ -t 0 ] || sudo -n true 2>/dev/null; }; then
        echo "Installing them needs root. Please run"
        echo "    sudo apt-get update && sudo ${install[*]}"
        echo "then run this again."
        exit 2
      fi
      as_root=(sudo)
    fi
    echo "Installing them: ${as_root[*]:+sudo }${install[*]}"
    # A package list that cannot be renewed is no failure yet: the packages may still be had.
    "${as_root[@]}" apt-get update -qq </dev/null || true
    if ! "${as_root[@]}" env DEBIAN_FRONTEND=noninteractive "${install[@]}" -qq </dev/null; then
      echo "That failed; see above. The command was: ${as_root[*]:+sudo }${install[*]}"
      exit 2
    fi
  fi

  local cmake_version
  cmake_version=$(cmake --version | sed -nE 's/^cmake version ([0-9.]+).*/\1/p')
  if [ "$(printf '%s\n' 3.25 "$cmake_version" | sort -V | head -n 1)" != 3.25 ]; then
    echo "CMake 3.25 or newer is needed; this is $cmake_version."
    echo "Debian 12, Ubuntu 24.04 and later have it; 'pip install cmake' brings it elsewhere."
    exit 2
  fi
}

# Does the package exist in this release of the system?
engram_offered() {
  command -v apt-cache >/dev/null && apt-cache show "$1" >/dev/null 2>&1
}
