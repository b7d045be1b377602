#!/usr/bin/env bash
# SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
# A header includes its own folder and lower floors only; a wing is included by no floor, and no
# floor includes anything but engram and the standard library; storage/ also the system's headers for
# memory and files, where they exist.
set -euo pipefail
cd "$(dirname "$0")/../../include/engram"

# Folder, floor. Folders of one floor do not see each other. A wing (100) sees every floor and the
# wings named behind it. "." is the folder include/engram itself: its files are listed one by one.
table="
config.hpp 0
version.hpp 0
fwd.hpp 0
core 1
tokenizer 2
ngram 2
codec 2
gating 2
addressing 3
storage 3
layer 4
training 5
editing 6
engram.hpp 7
eigen 100
xxhash 100
unicode 100
io 100
models 100 io unicode
uring 100
cuda 100
cublas 100 cuda
distributed 100
c 100
"
declare -A floor sees
while read -r name number wings; do
  [ -n "$name" ] || continue
  floor[$name]=$number
  sees[$name]=" $wings "
done <<<"$table"

bad=0
say() {
  echo "include/engram/$1: $2"
  bad=1
}

while read -r file; do
  file=${file#./}
  from=${file%%/*}
  if [ -z "${floor[$from]:-}" ]; then
    say "$file" "'$from' has no floor; add it to the table in tests/lint/floors.sh"
    continue
  fi
  while read -r header; do
    case $header in
      engram/*)
        to=${header#engram/}
        to=${to%%/*}
        if [ -z "${floor[$to]:-}" ]; then
          say "$file" "includes <$header>, whose folder has no floor"
        elif [ "$to" != "$from" ] && [[ ${sees[$from]} != *" $to "* ]] &&
          [ "${floor[$to]}" -ge "${floor[$from]}" ] && [ "${floor[$from]}${floor[$to]}" != 00 ]; then
          say "$file" "(floor ${floor[$from]}) includes <$header> (floor ${floor[$to]}): only lower floors"
        fi
        ;;
      sys/mman.h | sys/resource.h | sys/stat.h | sys/syscall.h | fcntl.h | unistd.h)
        if [ "$from" != storage ] && [ "${floor[$from]}" -lt 100 ]; then
          say "$file" "includes <$header>: of the floors, only storage/ may"
        fi
        ;;
      */* | *.h | *.hpp)
        if [ "${floor[$from]}" -lt 100 ]; then
          say "$file" "is part of a floor and includes <$header>: the standard library only"
        fi
        ;;
    esac
  done < <(sed -nE 's/^[[:space:]]*#[[:space:]]*include[[:space:]]*[<"]([^>"]+)[>"].*/\1/p' "$file")
done < <(find . -name '*.hpp' -o -name '*.cuh' -o -name '*.h' | sort)
exit $bad
