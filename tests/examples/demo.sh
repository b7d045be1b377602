#!/usr/bin/env bash
# SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
# The demo with a few steps: what it prints, its report, what it refuses, and Ctrl-C.
#   demo.sh PROGRAM TRACE_PROGRAM FOLDER
set -euo pipefail
. "$(dirname "$0")/expectations.sh"
demo=$1 trace=$2
begin_in "$3" demo

"$demo" --steps 3 --report report.html >out
for words in "without memory" "with memory" "one row a head" "SHA-256" "bits a byte" \
  "nats at equal time" "3-grams" "not what the memory is worth" "Shown: " "Not shown: " \
  "rows of the report's passage" "equal to the table in memory, bit for bit" "Report: report.html" \
  "Next: "; do
  expect out "$words"
done
for words in "<svg" "Where the memory helps" "With the memory silenced" "token by token" \
  "The table from a disk" "right checksum" "</html>"; do
  expect report.html "$words"
done
grep -qE "<script|https?://" report.html && say "the report is not self-contained"

awk 'BEGIN { for (i = 0; i < 60000; ++i) printf "int f%d(int a%d) { return %d; }\n", i % 7, i % 11, i % 13 }' >text
printf 'a few words\n' >short.txt
printf 'broken \xff\n' >broken.txt
refused 1 "the text is too short" "$demo" --text short.txt --steps 2
refused 1 "byte 7 is not UTF-8" "$demo" --text broken.txt
refused 1 "absent.txt" "$demo" --text absent.txt
refused 1 "absent.json" "$demo" --tokenizer absent.json
refused 2 "--steps" "$demo" --steps 0
refused 2 "--no-such-option" "$demo" --no-such-option
refused 1 "no/such/folder.html" "$demo" --report no/such/folder.html

# A disk that has no room for the table, but for the report: 2 of 3.7 MB. The run is not lost.
mkdir temporary
(
  trap '' XFSZ
  ulimit -f 2000
  TMPDIR=$PWD/temporary exits 0 "$demo" --text text --steps 1 --report full.html
  exit $bad
) || bad=1
expect out "The trained table was not read back from a disk: "
expect out "Report: full.html"
expect full.html "not read back from a disk"
rmdir temporary || say "the temporary folder is not empty"

# Ctrl-C in the middle of training.
"$demo" --text text --steps 150 --report partial.html >out 2>err &
pid=$!
for _ in $(seq 600); do
  grep -q "Training, " out && break
  sleep 0.1
done
sleep 3
interrupt "$pid"
expect out "PARTIAL RUN"
expect out "equal to the table in memory, bit for bit"
expect partial.html "interrupted after"

"$trace" --save-tokenizer tokenizer.json >out
expect out "n-grams and their rows"
refused 1 "absent.txt" "$trace" --text absent.txt
refused 2 "--steps" "$trace" --steps 3
exit $bad
