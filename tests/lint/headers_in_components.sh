#!/usr/bin/env bash
# SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
# Every header on disk belongs to a component, so that it is installed and compiled alone.
#   headers_in_components.sh LIST   the file with the headers of all components, one per line
set -euo pipefail
list=$(realpath "$1")
cd "$(dirname "$0")/../../include"

missing=$(comm -23 <(find "$PWD" -type f | sort) <(sort "$list"))
if [ -n "$missing" ]; then
  echo "in no component; add the folder to engram_add_component in CMakeLists.txt:"
  echo "$missing"
  exit 1
fi
