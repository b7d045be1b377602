#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
"""A step of the rows in training: PyTorch's sparse embedding beside ours, one core.

usage: sparse_adam.py BUILD/bench/row_update_native

Both take the same 65,536 row ids and gradients a step to a table of 4 million rows of 64 floats.
PyTorch's part is the backward of nn.Embedding(sparse=True) and the optimizer's step, which sums the
gradients of equal rows first: SparseAdam, Adagrad (a state for every element; it has none by row)
and SGD, one thread. The two take two turns each; the better median counts. Times are processor
time. Needs 8 GiB. Prints a skip line without PyTorch or NumPy.
"""
import json
import os
import statistics
import subprocess
import sys
import time

for name in ("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS", "MKL_NUM_THREADS"):
    os.environ[name] = "1"
try:
    import numpy as np
    import torch
except ImportError as error:
    print(f"[skipped] {error.name} is not installed")
    sys.exit(0)

NUM_ROWS, WIDTH, COUNT, BATCHES = 4 << 20, 64, 8192 * 8, 8
STEPS = 16
PAIRS = {"LazyAdam": torch.optim.SparseAdam, "RowAdagrad": torch.optim.Adagrad,
         "Sgd": torch.optim.SGD}


def splitmix64(x):
    with np.errstate(over="ignore"):
        z = x + np.uint64(0x9E3779B97F4A7C15)
        z = (z ^ (z >> np.uint64(30))) * np.uint64(0xBF58476D1CE4E5B9)
        z = (z ^ (z >> np.uint64(27))) * np.uint64(0x94D049BB133111EB)
        return z ^ (z >> np.uint64(31))


def draw_rows():
    cumulative = np.cumsum(1 / np.arange(1, NUM_ROWS + 1, dtype=np.float64))
    z = splitmix64(np.arange(BATCHES * COUNT, dtype=np.uint64))
    u = (z >> np.uint64(11)).astype(np.float64) * 2.0**-53 * cumulative[-1]
    rank = np.searchsorted(cumulative, u).astype(np.uint64)
    rows = splitmix64(rank + np.uint64(77)) % np.uint64(NUM_ROWS)
    return torch.from_numpy(rows.astype(np.int64)).view(BATCHES, COUNT)


def draw_gradients():
    z = splitmix64(np.arange(COUNT * WIDTH, dtype=np.uint64)).view(np.int64) >> np.int64(40)
    return torch.from_numpy(z.astype(np.float32) * np.float32(2.0**-23)).view(COUNT, WIDTH)


def torch_rate(optimizer_type, rows, gradients):
    """Gradients a second: the median over steps, after one over every batch."""
    embedding = torch.nn.Embedding(NUM_ROWS, WIDTH, sparse=True)
    optimizer = optimizer_type(embedding.parameters(), lr=0.01)
    rates = []
    for step in range(BATCHES + STEPS):
        out = embedding(rows[step % BATCHES])
        start = time.process_time()
        out.backward(gradients)
        optimizer.step()
        optimizer.zero_grad()
        rates.append(COUNT / (time.process_time() - start))
    return statistics.median(rates[BATCHES:])


def own_rate(program, name, rows):
    output = subprocess.run(
        [program, "--benchmark_format=json", f"--benchmark_filter=update<{name}>"],
        check=True, capture_output=True, text=True).stdout
    (run,) = json.loads(output)["benchmarks"]
    counts = {len(np.unique(batch)) for batch in rows.numpy()}
    assert run["unique"] in counts, "the two take different rows"
    return run["million_a_second"] * 1e6


def main():
    if len(sys.argv) != 2:
        print(__doc__)
        return 2
    torch.set_num_threads(1)
    print(f"PyTorch {torch.__version__}, million gradients a second")
    rows, gradients = draw_rows(), draw_gradients()
    for name, optimizer_type in PAIRS.items():
        pairs = [(torch_rate(optimizer_type, rows, gradients), own_rate(sys.argv[1], name, rows))
                 for _ in range(2)]
        theirs = max(pair[0] for pair in pairs)
        own = max(pair[1] for pair in pairs)
        print(f"{optimizer_type.__name__} {theirs / 1e6:.2f}, "
              f"our {name} {own / 1e6:.2f}, {own / theirs:.2f} times", flush=True)
    return 0


if __name__ == "__main__":
    sys.exit(main())
