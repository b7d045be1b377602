#!/usr/bin/env bash
# SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
# A file compiles as CUDA without a warning. That each header compiles alone is tested with the host's
# compilers.
#   nvcc.sh NVCC FILE
set -euo pipefail
root=$(cd "$(dirname "$0")/../.." && pwd)

"$1" -std=c++20 -x cu --cuda -Werror all-warnings -I "$root/include" "$2" -o /dev/null
