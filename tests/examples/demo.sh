#!/usr/bin/env bash
# SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
# The demo with a few steps: what it prints, its report, what it refuses, and Ctrl-C.
#   demo.sh PROGRAM TRACE_PROGRAM FOLDER
set -euo pipefail
demo=$1 trace=$2
folder=$(mktemp -d "$3/demo.XXXXXX")
trap 'rm -rf "$folder"' EXIT
cd "$folder"

bad=0
say() {
  echo "$*"
  bad=1
}
expect() { grep -qF -- "$2" "$1" || say "$1 lacks: $2"; }
# refused PROGRAM STATUS WORDS ARGUMENTS...
refused() {
  local program=$1 status=$2 words=$3 found=0
  shift 3
  "$program" "$@" >out 2>err || found=$?
  [ "$found" -eq "$status" ] || say "$*: exit $found, expected $status"
  expect err "$words"
}

"$demo" --steps 3 --report report.html >out
for words in "without memory" "with memory" "one row a head" "SHA-256" "bits a byte" \
  "nats at equal time" "3-grams" "not what the memory is worth" "Shown: " "Not shown: " \
  "Report: report.html" "Next: "; do
  expect out "$words"
done
for words in "<svg" "Where the memory helps" "With the memory silenced" "token by token" "</html>"; do
  expect report.html "$words"
done
grep -qE "<script|https?://" report.html && say "the report is not self-contained"

printf 'a few words\n' >short.txt
printf 'broken \xff\n' >broken.txt
refused "$demo" 1 "the text is too short" --text short.txt --steps 2
refused "$demo" 1 "byte 7 is not UTF-8" --text broken.txt
refused "$demo" 1 "absent.txt" --text absent.txt
refused "$demo" 1 "absent.json" --tokenizer absent.json
refused "$demo" 2 "--steps" --steps 0
refused "$demo" 2 "--no-such-option" --no-such-option
refused "$demo" 1 "no/such/folder.html" --report no/such/folder.html

# Ctrl-C in the middle of training.
"$demo" --steps 300 --report partial.html >out 2>err &
pid=$!
for _ in $(seq 600); do
  grep -q "Training, " out && break
  sleep 0.1
done
sleep 3
kill -INT "$pid"
found=0
wait "$pid" || found=$?
[ "$found" -eq 130 ] || say "interrupted: exit $found, expected 130"
expect out "PARTIAL RUN"
expect partial.html "interrupted after"

"$trace" --save-tokenizer tokenizer.json >out
expect out "n-grams and their rows"
refused "$trace" 1 "absent.txt" --text absent.txt
refused "$trace" 2 "--steps" --steps 3
exit $bad
