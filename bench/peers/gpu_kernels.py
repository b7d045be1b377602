#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
"""What bench/cuda/kernels.cu measures, by PyTorch on the same card: rows and the gate.

usage: gpu_kernels.py [GiB of the table, 8] [what kernels printed]

Rows: torch.index_select of a million distinct rows, the table's first in another order each time. The
gate: norms, score, gate and residual of 4,096 tokens of 4 branches of 5,120 in bf16, written as
PyTorch's users write it, and the same through torch.compile. Medians of 15 calls between events, behind
a wait on the GPU, so that no launch is timed, as in kernels.cu. With what kernels printed, PyTorch's time
over the kernel's stands behind each. Prints a skip line without PyTorch or a card.
"""
import re
import statistics
import sys

try:
    import torch
except ImportError as error:
    print(f"[skipped] {error.name} is not installed")
    sys.exit(0)
if not torch.cuda.is_available():
    print("[skipped] PyTorch finds no GPU")
    sys.exit(0)


def seconds(call, rounds=15, inner=4):
    """The median of one of `inner` calls, behind three that are not counted."""
    times = []
    for round_ in range(rounds + 3):
        begin, end = (torch.cuda.Event(enable_timing=True) for _ in range(2))
        torch.cuda._sleep(10_000_000)  # cycles, in which Python launches what is timed
        begin.record()
        for i in range(inner):
            call(i)
        end.record()
        end.synchronize()
        if round_ >= 3:
            times.append(begin.elapsed_time(end) / 1e3 / inner)
    return statistics.median(times)


def against(seconds_here, name, must, aim):
    """How many times as long as the kernel of that name took, where its time is known."""
    found = re.search(rf"^{re.escape(name)}.*? ([0-9.]+) us", kernels, re.MULTILINE)
    if not found:
        return ""
    return f"  {seconds_here * 1e6 / float(found[1]):5.2f} of the kernel's (must {must}, aim {aim})"


def rows(table_bytes):
    for row_bytes in (128, 256, 512, 1024, 2560):
        table = torch.ones(table_bytes // row_bytes, row_bytes // 2, dtype=torch.bfloat16, device="cuda")
        count = min(1 << 20, table.shape[0] // 4)
        ids = torch.randperm(table.shape[0], device="cuda")[: 4 * count].int().view(4, count)
        out = torch.empty(count, row_bytes // 2, dtype=torch.bfloat16, device="cuda")
        s = seconds(lambda i: torch.index_select(table, 0, ids[i], out=out))
        print(f"torch.index_select of {row_bytes:4d} bytes, distinct {s * 1e6:9.3f} us "
              f"{count / s / 1e6:9.1f} M rows/s {2 * count * row_bytes / s / 1e9:8.1f} GB/s"
              + against(s, f"gather of {row_bytes} bytes, of copy rate", 1.3, 1.55))
        del table, ids, out


def gate(hidden, keys, value, gain):
    """hidden + sigmoid(signed root of the score) * value, in float inside."""
    h, k = hidden.float(), keys.float()
    r = torch.rsqrt(h.square().mean(-1) + 1e-20) * torch.rsqrt(k.square().mean(-1) + 1e-20)
    score = (h * gain * k).sum(-1) * r * hidden.shape[-1] ** -0.5
    root = torch.copysign(score.abs().clamp_min(1e-6).sqrt(), score)
    return hidden + (torch.sigmoid(root)[..., None] * value.float()[:, None]).to(hidden.dtype)


def gates():
    tokens, branches, width = 4096, 4, 5120
    shape = (tokens, branches, width)
    hidden, keys = (torch.randn(shape, dtype=torch.bfloat16, device="cuda") for _ in range(2))
    value = torch.randn(tokens, width, dtype=torch.bfloat16, device="cuda")
    gain = torch.randn(branches, width, device="cuda")
    ways = {"eager": gate}
    try:
        ways["compiled"] = torch.compile(gate)
        ways["compiled"](hidden, keys, value, gain)
    except Exception as error:  # without a compiler of its own PyTorch cannot
        print(f"[skipped] torch.compile: {str(error).splitlines()[0]}")
        del ways["compiled"]
    with torch.no_grad():
        for name, way in ways.items():
            s = seconds(lambda _: way(hidden, keys, value, gain))
            must, aim = (1.2, 1.5) if name == "compiled" else (5, 8)
            print(f"torch gate and residual, 4 x 5120 bf16, {name:8s} {s * 1e6:9.3f} us"
                  + against(s, "gate and residual, 4 x 5120 bf16, of copy rate", must, aim))


kernels = open(sys.argv[2]).read() if len(sys.argv) > 2 else ""
print(f"{torch.cuda.get_device_name()}, PyTorch {torch.__version__}")
rows((int(sys.argv[1]) if len(sys.argv) > 1 else 8) << 30)
gates()
