# shellcheck shell=bash
# SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
# Sourced by the scripts here that run a program: a folder of their own, and what they expect of it.
# They end with `exit $bad`.
bad=0

# begin_in FOLDER NAME: a new folder below FOLDER, which goes when the script ends.
begin_in() {
  own_folder=$(mktemp -d "$1/$2.XXXXXX")
  trap 'rm -rf "$own_folder"' EXIT
  cd "$own_folder"
}
say() {
  echo "$*"
  bad=1
}
# expect FILE WORDS
expect() { grep -qF -- "$2" "$1" || say "$1 lacks: $2"; }
# exits STATUS PROGRAM ARGUMENTS...: what it prints is in the files out and err.
exits() {
  local status=$1 found=0
  shift
  "$@" >out 2>err || found=$?
  [ "$found" -eq "$status" ] || say "$*: exit $found, expected $status"
}
# refused STATUS WORDS PROGRAM ARGUMENTS...: the words are on stderr.
refused() {
  local status=$1 words=$2
  shift 2
  exits "$status" "$@"
  expect err "$words"
}
# interrupt PROCESS: Ctrl-C, on which it ends with 130.
interrupt() {
  local found=0
  kill -INT "$1"
  wait "$1" || found=$?
  [ "$found" -eq 130 ] || say "interrupted: exit $found, expected 130"
}
