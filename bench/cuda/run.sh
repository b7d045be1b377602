#!/usr/bin/env bash
# SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
# On a machine with a GPU: builds the tests and the benchmarks with nvcc alone, runs both, and the
# tests again under compute-sanitizer where it is. Needs no CMake and no network. What needs cuBLAS is
# left out, and said, where it is not.
#   bench/cuda/run.sh [FOLDER [OUT]]   FOLDER: what pack.sh made, default build/cuda_needs;
#                                      OUT: where to build and write logs, default build/cuda
set -euo pipefail
cd "$(dirname "$0")/../.."
needs=${1:-build/cuda_needs}
out=${2:-build/cuda}
nvcc=$(command -v nvcc || echo /usr/local/cuda/bin/nvcc)
mkdir -p "$out"
if [ ! -e "$needs/catch2/catch.hpp" ]; then
  echo "$needs/catch2/catch.hpp is missing: run bench/cuda/pack.sh where Catch2 is installed"
  exit 2
fi

printf '#define CATCH_CONFIG_MAIN\n#include <catch2/catch.hpp>\n' >"$out/main.cpp"
flags=(-std=c++20 -O3 -arch=native -I include -I tests/support -I "$needs" "-DENGRAM_TEST_DIR=\"$PWD/tests\"")
sources=(tests/cuda/*_test.cu bench/cuda/*.cu)
libraries=(-lcublasLt -lcublas -Xlinker "-rpath=$(dirname "$nvcc")/../lib64")
has_blas=yes
if [ ! -e "$(dirname "$nvcc")/../include/cublasLt.h" ]; then
  has_blas=no
  echo "[skipped] cuBLAS is not installed: tests/cuda/projection_test.cu, bench/cuda/offload.cu"
  sources=($(printf '%s\n' "${sources[@]}" | grep -v -e projection_test -e offload))
  libraries=()
fi
echo "== building in $out"
rm -f "$out"/*.o
pids=()
"$nvcc" "${flags[@]}" -c -o "$out/main.o" "$out/main.cpp" & pids+=($!)
for source in "${sources[@]}"; do
  "$nvcc" "${flags[@]}" -c -o "$out/$(basename "$source" .cu).o" "$source" & pids+=($!)
done
for pid in "${pids[@]}"; do wait "$pid"; done
"$nvcc" -arch=native -o "$out/tests" "$out"/*_test.o "$out/main.o" "${libraries[@]}"
"$nvcc" -arch=native -o "$out/kernels" "$out/kernels.o"
[ $has_blas = no ] || "$nvcc" -arch=native -o "$out/offload" "$out/offload.o" "${libraries[@]}"

failed=0
echo "== tests"
"$out/tests" 2>&1 | tee "$out/tests.log" | tail -n 40 || failed=1
echo "== benchmark"
"$out/kernels" 2>&1 | tee "$out/kernels.log" || failed=1
python3 bench/peers/gpu_kernels.py 2>&1 | tee "$out/torch.txt" || failed=1
[ $has_blas = no ] || "$out/offload" 8 8 4 "$out/offload_rows" 2>&1 | tee "$out/offload.log" || failed=1
if grep -h '^\[skipped\]' "$out"/*.log | sort | uniq -c; then
  echo "something was skipped"
  failed=1
fi
sanitizer=$(command -v compute-sanitizer || echo /usr/local/cuda/bin/compute-sanitizer)
if [ ! -x "$sanitizer" ]; then
  echo "== compute-sanitizer is not installed: not run"
  exit $failed
fi
# Without the cases that are large, those in which a call of the runtime is to fail, and those in which
# the GPU waits for a host that a tool may hold back.
for tool in memcheck racecheck initcheck synccheck; do
  echo "== compute-sanitizer, $tool"
  code=0
  timeout 120 "$sanitizer" --tool "$tool" --error-exitcode 1 "$out/tests" '~[large]~[refused]~[waits]' \
    >"$out/$tool.log" 2>&1 || code=$?
  case $code in
    0) echo "clean" ;;
    124) echo "not known: out of time" ;;
    *) echo "not clean: $out/$tool.log" ;;
  esac
  [ $code -eq 0 ] || failed=1
done
exit $failed
