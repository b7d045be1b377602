#!/usr/bin/env bash
# SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
# Compiles SOURCE for aarch64 against that processor's ICU and runs it under qemu on the golden files.
# The ICU package is unpacked below FOLDER, so that nothing of the system changes; it is fetched once.
#   aarch64_normalizer.sh SOURCE PROGRAM FOLDER
set -euo pipefail
source=$1
program=$2
folder=$3
root=$(cd "$(dirname "$0")/../.." && pwd)

for tool in aarch64-linux-gnu-g++ qemu-aarch64 apt-get dpkg-deb; do
  if ! command -v "$tool" >/dev/null; then
    echo "[skipped] $tool is not installed (Debian, Ubuntu: g++-aarch64-linux-gnu qemu-user)"
    exit 0
  fi
done
icu=$folder/usr
if [ ! -e "$icu/lib/aarch64-linux-gnu/libicuuc.a" ]; then
  mkdir -p "$folder/lists/partial" "$folder/cache/archives/partial"
  options=(-qq -oAPT::Architecture=arm64 -oAPT::Architectures=arm64 -oDebug::NoLocking=1
    "-oDir::State::Lists=$folder/lists" "-oDir::Cache=$folder/cache" -oAPT::Sandbox::User=)
  if ! (cd "$folder" && apt-get "${options[@]}" update && apt-get "${options[@]}" download libicu-dev \
    && dpkg-deb -x libicu-dev_*.deb .) >"$folder/apt.log" 2>&1; then
    echo "[skipped] the package libicu-dev for arm64 could not be fetched: $(tail -n 1 "$folder/apt.log")"
    exit 0
  fi
  rm -rf "$folder/lists" "$folder/cache" "$folder"/*.deb
fi
aarch64-linux-gnu-g++ -std=c++20 -O1 -static -I "$root/include" -isystem "$icu/include" "$source" \
  -o "$program" -L "$icu/lib/aarch64-linux-gnu" -licuuc -licudata -lpthread
qemu-aarch64 "$program" "$root/tests/golden"
