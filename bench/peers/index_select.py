#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
"""Gathering rows of floats: PyTorch's index_select as it is shipped beside ours, one core.

usage: index_select.py BUILD/bench/gather_native [ROW-BYTES...]

Both gather 8,192 rows a call from a table of 6 GiB, the same ids, drawn evenly and as words are.
PyTorch has the pages that it takes by itself (4 KiB), a result that stays allocated and one thread.
The two take two turns each; the better median of each counts. Times are processor time. Prints a
skip line without PyTorch or NumPy.
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

TABLE_BYTES = 6 << 30
ROWS_A_CALL = 512 * 16
BYTES_A_TURN = 32 << 20
BYTES_OF_IDS = 512 << 20
TURNS = 21


def splitmix64(x):
    with np.errstate(over="ignore"):
        z = x + np.uint64(0x9E3779B97F4A7C15)
        z = (z ^ (z >> np.uint64(30))) * np.uint64(0xBF58476D1CE4E5B9)
        z = (z ^ (z >> np.uint64(27))) * np.uint64(0x94D049BB133111EB)
        return z ^ (z >> np.uint64(31))


def draw(num_rows, row_bytes, zipf):
    calls = max(1, BYTES_OF_IDS // (ROWS_A_CALL * row_bytes))
    z = splitmix64(np.arange(calls * ROWS_A_CALL, dtype=np.uint64))
    if zipf:
        u = (z >> np.uint64(11)).astype(np.float64) * 2.0**-53
        z = splitmix64(np.power(float(num_rows), u).astype(np.uint64))
    return torch.from_numpy((z % np.uint64(num_rows)).astype(np.int64)).view(calls, ROWS_A_CALL)


def torch_rate(table, row_bytes, zipf):
    """Rows a second: the median over turns."""
    ids = draw(table.shape[0], row_bytes, zipf)
    out = torch.zeros(ROWS_A_CALL, row_bytes // 4)
    torch.index_select(table, 0, ids[0], out=out)
    assert torch.equal(out[:, 0].view(torch.int32).long(), ids[0]), "PyTorch disagrees"
    calls = max(1, BYTES_A_TURN // (ROWS_A_CALL * row_bytes))
    rates, call = [], 0
    for _ in range(TURNS):
        start = time.process_time()
        for _ in range(calls):
            torch.index_select(table, 0, ids[call], out=out)
            call = (call + 1) % len(ids)
        rates.append(calls * ROWS_A_CALL / (time.process_time() - start))
    return statistics.median(rates)


def torch_rates(row_bytes):
    table = torch.zeros(TABLE_BYTES // row_bytes, row_bytes // 4)
    table[:, 0] = torch.arange(table.shape[0], dtype=torch.int32).view(torch.float32)
    table[:, 16::16] = 1.0  # touches every line
    return [torch_rate(table, row_bytes, zipf) for zipf in (0, 1)]


def own_rates(program, row_bytes):
    output = subprocess.run(
        [program, "--benchmark_format=json", f"--benchmark_filter=row_bytes:{row_bytes}/"],
        check=True, capture_output=True, text=True).stdout
    return [run["rows"] for run in json.loads(output)["benchmarks"]]


def main():
    if len(sys.argv) < 2:
        print(__doc__)
        return 2
    torch.set_num_threads(1)
    print(f"PyTorch {torch.__version__}, million rows a second")
    for row_bytes in [int(a) for a in sys.argv[2:]] or [128, 256, 512, 1024, 2560]:
        pairs = [(torch_rates(row_bytes), own_rates(sys.argv[1], row_bytes)) for _ in range(2)]
        for zipf, kind in enumerate(("evenly", "as words")):
            theirs = max(pair[0][zipf] for pair in pairs)
            own = max(pair[1][zipf] for pair in pairs)
            print(f"{row_bytes:5} bytes, drawn {kind}: PyTorch {theirs / 1e6:.2f}, "
                  f"ours {own / 1e6:.2f}, {own / theirs:.2f} times", flush=True)
    return 0


if __name__ == "__main__":
    sys.exit(main())
