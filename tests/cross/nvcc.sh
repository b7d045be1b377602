#!/usr/bin/env bash
# SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
# Each header compiles alone as CUDA, without a warning.
#   nvcc.sh NVCC HEADER...
set -euo pipefail
nvcc=$1
shift
root=$(cd "$(dirname "$0")/../.." && pwd)

bad=0
for header in "$@"; do
  if ! echo "#include \"$header\"" |
    "$nvcc" -std=c++20 -x cu --cuda -Werror all-warnings -I "$root/include" - -o /dev/null; then
    echo "$header: nvcc says no"
    bad=1
  fi
done
exit $bad
