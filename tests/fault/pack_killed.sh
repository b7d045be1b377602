#!/usr/bin/env bash
# SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
# The program `engram pack`, ended at each call that changes a file: no reader takes what is there,
# and the same command goes on to the file of an uninterrupted one.
#   pack_killed.sh PROGRAM SHIM SCRATCH-FOLDER
set -u
engram=$1
shim=$2
scratch=$3/pack_killed
rm -rf "$scratch"
mkdir -p "$scratch/out"
cd "$scratch" || exit 1
failed=0
fail() {
  echo "FAILED: $*"
  failed=$((failed + 1))
}

# 40 rows of 500 and 20 bytes: 7 a page, 6 pages.
header='{"layers.3.engram.embed.weight":{"dtype":"F8_E4M3","shape":[40,500],"data_offsets":[0,20000]},"layers.3.engram.embed.scale":{"dtype":"F8_E8M0","shape":[40,20],"data_offsets":[20000,20800]}}'
{
  printf "\\x$(printf %02x $((${#header} % 256)))\\0\\0\\0\\0\\0\\0\\0%s" "$header"
  seq 1 100000 | head -c 20800
} >model
geometry=(--layers 3 --sizes 40 --heads 1 --max-ngram 2 --compressed-vocab 64 --moduli 40)
"$engram" pack --from model --out whole "${geometry[@]}" >said 2>err || fail "pack: $(cat err)"

for after in "" yes; do
  for ((at = 0; ; at++)); do
    if [ "$at" -gt 500 ]; then
      fail "pack does not end"
      break
    fi
    rm -f out/rows out/rows.part
    env LD_PRELOAD="$shim" ENGRAM_FAULT_FOLDER="$scratch/out" ENGRAM_FAULT_AT="$at" ${after:+ENGRAM_FAULT_AFTER=1} \
      "$engram" pack --from model --out "$scratch/out/rows" "${geometry[@]}" >out1 2>err
    status=$?
    [ "$status" -eq 77 ] || [ "$status" -eq 0 ] || fail "call $at: exit status $status: $(cat err)"
    for file in out/rows out/rows.part; do
      if [ -e $file ] && "$engram" verify $file >out1 2>err && ! cmp -s $file whole; then
        fail "call $at: $file is taken and is not whole"
      fi
    done
    if [ -e out/rows ] && ! cmp -s out/rows whole; then fail "call $at: out/rows is not whole"; fi
    [ "$status" -eq 0 ] && break
    "$engram" pack --from model --out out/rows "${geometry[@]}" >again 2>err || fail "call $at: going on: $(cat err)"
    cmp -s out/rows whole || fail "call $at: gone on with, it is another file"
    cmp -s again said || fail "call $at: gone on with, pack says $(cat again)"
    [ ! -e out/rows.part ] || fail "call $at: out/rows.part is left"
  done
  [ "$at" -gt 12 ] || fail "only $at calls were hit: the shim is not in the way"
done
rm -rf "$scratch/out"
echo "$failed failed"
[ "$failed" -eq 0 ]
