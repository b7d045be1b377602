#!/usr/bin/env bash
# SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
# version.hpp holds the version; every other place that repeats it says the same.
set -euo pipefail
cd "$(dirname "$0")/../.."

part() { sed -nE "s/^#define ENGRAM_VERSION_$1 +([0-9]+)$/\1/p" include/engram/version.hpp; }
major=$(part MAJOR)
minor=$(part MINOR)
full=$major.$minor.$(part PATCH)

bad=0
if ! grep -q "inline namespace v${major}_${minor} " include/engram/config.hpp; then
  echo "include/engram/config.hpp: the inline namespace is not v${major}_${minor}"
  bad=1
fi
if [ -f CHANGELOG.md ] && ! grep -qE "^## .*\b${full//./\\.}\b" CHANGELOG.md; then
  echo "CHANGELOG.md: no heading for version $full"
  bad=1
fi
if [ -f CITATION.cff ] && ! grep -qE "^version: \"?${full//./\\.}\"?$" CITATION.cff; then
  echo "CITATION.cff: the version is not $full"
  bad=1
fi
while IFS=: read -r file line text; do
  if [[ $text != *"find_package(engram $major.$minor"[\ \)]* ]]; then
    echo "$file:$line: asks for another version than $major.$minor"
    bad=1
  fi
done < <(grep -nE 'find_package\(engram +[0-9]' -r README.md docs examples 2>/dev/null)
exit $bad
