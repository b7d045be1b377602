#!/usr/bin/env bash
# SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
# Every header on disk belongs to a component, so that it is installed and compiled alone.
#   headers_in_components.sh LIST [FOLDER...]   LIST: a file with the headers of all components, one
#                                               per line; FOLDER: of a wing that is not built here
set -euo pipefail
list=$(realpath "$1")
cd "$(dirname "$0")/../../include"

shift
not_built=()
for folder in "$@"; do
  not_built+=(-not -path "*/engram/$folder/*")
done
missing=$(comm -23 <(find "$PWD" -type f "${not_built[@]}" | sort) <(sort "$list"))
if [ -n "$missing" ]; then
  echo "in no component; add the folder to engram_add_component in CMakeLists.txt:"
  echo "$missing"
  exit 1
fi
