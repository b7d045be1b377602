#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
"""Writes tests/golden/vectors/ggml_blocks.json: blocks of GGUF formats and what the gguf package makes of them.

usage: gguf_blocks.py OUTPUT    (the file in the repository was made with gguf 0.19.0, NumPy 2.4.6)

For each format a few blocks with their elements as bits of floats, and the SHA-256 of the elements of many more, whose
bytes are those of SplitMix64: block b takes the next ceil(bytes / 8) words, its halves are then replaced by entry
b % count and (b / count) % count of the list of halves. NaN counts as 7fc00000.
"""
import hashlib
import importlib.metadata
import json
import sys

import numpy
from gguf.constants import GGML_QUANT_SIZES, GGMLQuantizationType
from gguf.quants import dequantize

# Zero, both signs; subnormal; one; the largest; infinite; NaN.
HALVES = (0x0000, 0x8000, 0x0001, 0x8001, 0x03FF, 0x3C00, 0xBC00, 0x2E66, 0x7BFF, 0xFBFF, 0x7C00, 0xFC00, 0x7E00)
# Where the halves of a block are.
PLACES = {"Q8_0": (0,), "Q2_K": (80, 82), "Q3_K": (108,), "Q4_K": (0, 2), "Q6_K": (208,)}
RANDOM = 1024


def words(seed):
    while True:
        seed = (seed + 0x9E3779B97F4A7C15) & (2**64 - 1)
        z = seed
        z = ((z ^ (z >> 30)) * 0xBF58476D1CE4E5B9) & (2**64 - 1)
        z = ((z ^ (z >> 27)) * 0x94D049BB133111EB) & (2**64 - 1)
        yield z ^ (z >> 31)


def with_halves(block, places, b):
    block = bytearray(block)
    for i, place in enumerate(places):
        block[place : place + 2] = HALVES[(b // len(HALVES) ** i) % len(HALVES)].to_bytes(2, "little")
    return bytes(block)


def values(blocks, quant):
    with numpy.errstate(all="ignore"):
        floats = dequantize(numpy.frombuffer(b"".join(blocks), dtype=numpy.uint8).reshape(len(blocks), -1), quant)
    bits = floats.astype(numpy.float32).view(numpy.uint32).copy()
    bits[numpy.isnan(floats)] = 0x7FC00000
    return bits


formats = {}
for name, places in PLACES.items():
    quant = GGMLQuantizationType[name]
    elements, size = GGML_QUANT_SIZES[quant]
    stream = words(quant.value)
    blocks = []
    for b in range(RANDOM):
        raw = b"".join(next(stream).to_bytes(8, "little") for _ in range(-(-size // 8)))[:size]
        blocks.append(with_halves(raw, places, b))
    shown = [bytes(size), b"\xff" * size, blocks[5 + 13 * 7], blocks[2 + 13 * 4]]
    for b in (6, 8 + 13 * 9):
        shown.append(with_halves(b"\xff" * size, places, b))
    formats[name] = {
        "elements": elements,
        "bytes": size,
        "halves_at": places,
        "blocks": [{"bytes": b.hex(), "values": v.astype(">u4").tobytes().hex()} for b, v in zip(shown, values(shown, quant))],
        "seed": quant.value,
        "random": RANDOM,
        "sha256": hashlib.sha256(values(blocks, quant).astype("<u4").tobytes()).hexdigest(),
    }
with open(sys.argv[1], "w") as file:
    json.dump({"gguf": importlib.metadata.version("gguf"), "halves": HALVES, "formats": formats}, file, separators=(",", ":"))
