#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
"""Row ids with DeepSeek-V4.1's geometry: the reference computation in NumPy beside ours, one core.

usage: numpy_address.py BUILD/bench/address [MORE-BENCH-PROGRAMS...]

Both take 2,048 Zipf-distributed canonical ids with dead positions to [2048, 2, 24] int64 row ids.
NumPy does what the released code does: shift the ids, replace blocked places by the pad, multiply,
XOR, take the remainder by each head's prime, add the offset. Prints a skip line without NumPy.
"""
import json
import os
import subprocess
import sys
import time

for name in ("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS", "MKL_NUM_THREADS"):
    os.environ[name] = "1"
try:
    import numpy as np
except ImportError:
    print("[skipped] NumPy is not installed")
    sys.exit(0)

TOKENS, PAD, SIZE = 2048, 2, 99092


def primes_from(start, count):
    found = []
    n = start
    while len(found) < count:
        if all(n % d for d in range(2, int(n**0.5) + 1)):
            found.append(n)
        n += 1
    return found


def layer_constants(layer_id, primes):
    bound = (2**63 - 1) // SIZE // 2
    draws = np.random.default_rng(10007 * layer_id).integers(0, bound, size=4, dtype=np.int64)
    moduli = np.array(primes, dtype=np.int64)
    return 2 * draws + 1, moduli, np.concatenate(([0], np.cumsum(moduli)[:-1]))


def address(ids, dead, layers):
    shifted = []
    blocked = np.zeros(len(ids), dtype=bool)
    for back in range(4):
        moved = np.concatenate((np.full(back, PAD), ids))[: len(ids)]
        moved_dead = np.concatenate((np.ones(back, dtype=bool), dead))[: len(ids)]
        blocked = blocked | moved_dead
        shifted.append(np.where(blocked, PAD, moved))
    rows = np.empty((len(ids), len(layers), 24), dtype=np.int64)
    for l, (multipliers, moduli, offsets) in enumerate(layers):
        mix = shifted[0] * multipliers[0]
        for order in range(1, 4):
            mix = mix ^ (shifted[order] * multipliers[order])
            columns = slice(8 * order - 8, 8 * order)
            rows[:, l, columns] = mix[:, None] % moduli[columns] + offsets[columns]
    return rows


def main():
    if len(sys.argv) < 2:
        print(__doc__)
        return 2
    primes = primes_from(16000000, 48)
    layers = [layer_constants(1, primes[:24]), layer_constants(14, primes[24:])]
    check = address(np.array([0, 3]), np.array([False, False]), layers)
    assert check[0, 0, 0] == 5702652 and check[1, 0, 1] == 17031479, "NumPy disagrees"
    random = np.random.default_rng(1)
    ids = (SIZE ** random.random(TOKENS)).astype(np.int64) - 1
    dead = np.arange(TOKENS) % 50 == 49
    best = min(_seconds(lambda: address(ids, dead, layers)) for _ in range(50))
    numpy_rate = TOKENS * 48 / best
    print(f"numpy {np.__version__}: {numpy_rate / 1e6:.1f} million row ids a second")
    for program in sys.argv[1:]:
        output = subprocess.run(
            [program, "--benchmark_format=json", "--benchmark_filter=^front_end$"],
            check=True, capture_output=True, text=True).stdout
        rate = json.loads(output)["benchmarks"][0]["rows"]
        print(f"{os.path.basename(program)}: {rate / 1e6:.0f} million, {rate / numpy_rate:.1f} times NumPy")
    return 0


def _seconds(work):
    start = time.perf_counter()
    work()
    return time.perf_counter() - start


if __name__ == "__main__":
    sys.exit(main())
