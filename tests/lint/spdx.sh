#!/usr/bin/env bash
# SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
# Every source file and script names the licence in its first lines.
set -euo pipefail
cd "$(dirname "$0")/../.."
. tests/lint/files.sh

bad=0
while read -r file; do
  case $file in
    *.hpp | *.cpp | *.cu | *.cuh | *.h | *.c | *.cmake | *.cmake.in | *CMakeLists.txt | *.sh | *.py) ;;
    *) head -c 2 "$file" | grep -q '^#!' || continue ;;
  esac
  if ! head -n 3 "$file" | grep -q 'SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception'; then
    echo "$file: no SPDX-License-Identifier line"
    bad=1
  fi
done < <(source_files)
exit $bad
