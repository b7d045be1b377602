#!/usr/bin/env bash
# SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
# engram.hpp reaches none of the heavy standard headers, however indirectly.
#   standard_headers.sh COMPILER
set -euo pipefail
cd "$(dirname "$0")/../.."

# -H prints every file that is read, one dot a level; the standard's own have no suffix.
tree=$("$1" -std=c++20 -I include -H -fsyntax-only -x c++ include/engram/engram.hpp 2>&1 | grep '^\.')
reached=$(sed -nE 's|^\.+ .*/([a-z_0-9]+)$|\1|p' <<<"$tree" | sort -u)
echo "engram.hpp reaches: ${reached//$'\n'/ }"

bad=0
for header in functional thread mutex filesystem iostream ranges regex; do
  if grep -qx "$header" <<<"$reached"; then
    echo "it must not reach <$header>; the way there:"
    sed "/\/$header\$/q" <<<"$tree" | tail -n 12
    bad=1
  fi
done
exit $bad
