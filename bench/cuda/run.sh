#!/usr/bin/env bash
# SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
# On a machine with a GPU: builds the tests and the benchmarks with nvcc alone and runs both, until 570
# seconds have passed: what is not done by then is said. Needs no CMake and no network. What needs cuBLAS,
# or Python for the comparison, is left out, and said, where it is not. Exits with 1 where a program failed
# or says that it skipped something.
#   bench/cuda/run.sh [--sanitize] [FOLDER [OUT]]
#     --sanitize   only the tests, under each tool of compute-sanitizer, at most two minutes for each
#     FOLDER       what pack.sh made, default build/cuda_needs
#     OUT          where to build and write logs, default build/cuda
set -euo pipefail
cd "$(dirname "$0")/../.."
sanitize=no
if [ "${1:-}" = --sanitize ]; then
  sanitize=yes
  shift
fi
needs=${1:-build/cuda_needs}
out=${2:-build/cuda}
nvcc=$(readlink -f "$(command -v nvcc || echo /usr/local/cuda/bin/nvcc)")
if ! "$nvcc" --version >/dev/null 2>&1; then
  echo "nvcc is missing: it is looked for on PATH and in /usr/local/cuda/bin"
  exit 2
fi
mkdir -p "$out"
if [ ! -e "$needs/catch2/catch.hpp" ]; then
  echo "$needs/catch2/catch.hpp is missing: run bench/cuda/pack.sh where Catch2 is installed"
  exit 2
fi

printf '#define CATCH_CONFIG_MAIN\n#include <catch2/catch.hpp>\n' >"$out/main.cpp"
flags=(-std=c++20 -O3 -arch=native -I include -I tests/support -I "$needs" "-DENGRAM_TEST_DIR=\"$PWD/tests\"")
sources=(tests/cuda/*_test.cu)
[ $sanitize = yes ] || sources+=(bench/cuda/*.cu)
libraries=(-lcublasLt -lcublas -Xlinker "-rpath=$(dirname "$nvcc")/../lib64")
has_blas=yes
printf '#include <cublasLt.h>\nint main() { return cublasLtGetVersion() == 0; }\n' >"$out/blas.cpp"
if ! "$nvcc" -o "$out/blas" "$out/blas.cpp" "${libraries[@]}" 2>"$out/blas.txt"; then
  has_blas=no
  echo "[skipped] cuBLAS is not installed: tests/cuda/projection_test.cu, bench/cuda/offload.cu"
  sources=($(printf '%s\n' "${sources[@]}" | grep -v -e projection_test -e offload))
  libraries=()
fi
echo "== building in $out"
rm -f "$out"/*.o "$out"/*.log
pids=()
timeout 400 "$nvcc" "${flags[@]}" -c -o "$out/main.o" "$out/main.cpp" & pids+=($!)
for source in "${sources[@]}"; do
  timeout 400 "$nvcc" "${flags[@]}" -c -o "$out/$(basename "$source" .cu).o" "$source" & pids+=($!)
done
for pid in "${pids[@]}"; do wait "$pid"; done
"$nvcc" -arch=native -o "$out/tests" "$out"/*_test.o "$out/main.o" "${libraries[@]}"

failed=0
export PYTHONUNBUFFERED=1
# run SECONDS LOG PROGRAM...: what it prints also goes to a file, line by line.
run() {
  local code=0 seconds=$((570 - SECONDS))
  [ $seconds -lt "$1" ] || seconds=$1
  if [ $seconds -lt 5 ]; then
    echo "not known: no time was left for ${*:3}"
    failed=1
    return
  fi
  timeout -k 5 "$seconds" stdbuf -oL "${@:3}" 2>&1 | tee "$out/$2" || code=$?
  [ $code -ne 124 ] && [ $code -ne 137 ] || echo "not known: ${*:3} was out of its $seconds seconds"
  [ $code -eq 0 ] || failed=1
}
if [ $sanitize = no ]; then
  "$nvcc" -arch=native -o "$out/kernels" "$out/kernels.o"
  [ $has_blas = no ] || "$nvcc" -arch=native -o "$out/offload" "$out/offload.o" "${libraries[@]}"
  echo "== tests"
  run 150 tests.log "$out/tests" -d yes
  echo "== benchmark"
  run 120 kernels.log "$out/kernels"
  if command -v python3 >/dev/null; then
    run 90 torch.txt python3 bench/peers/gpu_kernels.py 8 "$out/kernels.log"
  else
    echo "[skipped] python3 is not installed: bench/peers/gpu_kernels.py"
  fi
  # Half of what the host has free, and so many GiB that locking them leaves time.
  pinned=$(awk '/^MemAvailable/ {gib = int($2 / 2097152); print (gib > 48 ? 48 : (gib < 1 ? 1 : gib))}' /proc/meminfo)
  [ $has_blas = no ] || run 180 offload.log "$out/offload" 8 "${pinned:-8}" 4 "$out/offload_rows"
  rm -f "$out/offload_rows"
  if grep -h '^\[skipped\]' "$out"/*.log | sort | uniq -c; then
    echo "something was skipped"
    failed=1
  fi
  exit $failed
fi
sanitizer=$(command -v compute-sanitizer || echo "$(dirname "$nvcc")/compute-sanitizer")
if [ ! -x "$sanitizer" ]; then
  echo "== compute-sanitizer is not installed: not run"
  exit 1
fi
# Without the cases that are large, those in which a call of the runtime is to fail, and those in which
# the GPU waits for a host that a tool may hold back.
for tool in memcheck racecheck initcheck synccheck; do
  echo "== compute-sanitizer, $tool"
  code=0
  timeout 120 "$sanitizer" --tool "$tool" --error-exitcode 1 "$out/tests" '~[large]~[refused]~[waits]' \
    >"$out/$tool.log" 2>&1 || code=$?
  if grep -q 'Device not supported' "$out/$tool.log"; then
    echo "not run: the tool does not work on this machine"
    failed=1
    continue
  fi
  case $code in
    0) echo "clean" ;;
    124) echo "not known: out of time" ;;
    *) echo "not clean: $out/$tool.log" ;;
  esac
  [ $code -eq 0 ] || failed=1
done
exit $failed
