#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
"""Recomputes the vectors of the DeepSeek-V4.1 module with NumPy alone and compares them.

usage: v41_module.py FOLDER    (tests/golden/vectors; checked with NumPy 2.4.6)

module_vectors.json: layout, multipliers, rows, embeddings, quantised activations, kv, gate and
output bits from the filler rules; fp8_vectors.json: code table, activation blocks and rows;
gate_edge_cases.json: both gates. Integers and bits must be equal, dot products and gates within
1e-12 (4e-6 when computed in float32). A difference fails an assertion. No test needs Python.
"""

import json
import os
import sys

import numpy as np


def fnv1a64(text):
    h = 0xCBF29CE484222325
    for byte in text.encode():
        h = (h ^ byte) * 0x100000001B3 % 2**64
    return h


def raw(name, indices):
    golden = np.uint64(0x9E3779B97F4A7C15)
    z = (np.asarray(indices, dtype=np.uint64) * golden ^ np.uint64(fnv1a64(name))) + golden
    z = (z ^ (z >> np.uint64(30))) * np.uint64(0xBF58476D1CE4E5B9)
    z = (z ^ (z >> np.uint64(27))) * np.uint64(0x94D049BB133111EB)
    return z ^ (z >> np.uint64(31))


def uniform(name, count):
    return (raw(name, np.arange(count)) >> np.uint64(40)).astype(np.float64) / 2**24


def filler_codes(name, indices):
    r = raw(name, indices)
    sign = r & np.uint64(1)
    exponent = np.uint64(6) + (r >> np.uint64(1)) % np.uint64(3)
    mantissa = r >> np.uint64(8) & np.uint64(7)
    return (sign << np.uint64(7) | exponent << np.uint64(3) | mantissa).astype(np.uint8)


def e4m3_table():
    values = []
    for code in range(128):
        exponent, mantissa = code >> 3, code & 7
        fraction = mantissa if exponent == 0 else 8 + mantissa
        values.append(fraction * 2.0 ** (max(exponent, 1) - 10))
    values[127] = np.nan
    return np.array(values + [-v for v in values])


E4M3 = e4m3_table()


def e8m0(byte):
    return np.where(byte == 255, np.nan, np.exp2(np.asarray(byte, dtype=np.float64) - 127))


def to_e4m3(values):
    """Nearest code, ties to the even one; values lie in [-448, 448]."""
    magnitude, positive = np.abs(values), E4M3[:127]
    above = np.clip(np.searchsorted(positive, magnitude), 1, 126)
    below = above - 1
    up, down = positive[above] - magnitude, magnitude - positive[below]
    code = np.where((up < down) | ((up == down) & (above % 2 == 0)), above, below)
    return (code + 128 * np.signbit(values)).astype(np.uint8)


def to_bf16(values):
    """Bits of float32 values rounded to bf16, nearest, ties to even."""
    bits = np.asarray(values, dtype=np.float32).view(np.uint32).astype(np.uint64)
    odd = bits >> np.uint64(16) & np.uint64(1)
    return ((bits + np.uint64(0x7FFF) + odd) >> np.uint64(16)).astype(np.uint16)


def from_bf16(bits):
    return (np.asarray(bits, dtype=np.uint32) << np.uint32(16)).view(np.float32)


def quantise(block):
    """Scale byte and codes of up to 32 float32 activations."""
    largest = max(np.float32(1e-4), np.abs(block).max())
    mantissa, exponent = np.frexp(largest * np.float32(1 / 448))
    k = int(exponent) - 1 + (mantissa != 0.5)
    return k + 127, to_e4m3(np.clip(block.astype(np.float64) / 2.0**k, -448, 448))


def gate_v41(dot, clamp):
    return 1 / (1 + np.exp(-np.copysign(np.sqrt(np.maximum(np.abs(dot), clamp)), dot)))


def gate_demo(dot):
    return 1 / (1 + np.exp(-np.sqrt(np.maximum(np.abs(dot), 1e-6)) * np.sign(dot)))


def prime_moduli(layers, sizes, heads):
    seen, out = set(), []
    for _ in range(layers):
        out.append([])
        for size in sizes:
            candidate, primes = size - 1, []
            while len(primes) < heads:
                candidate += 1
                if candidate not in seen and all(candidate % d for d in range(2, candidate)):
                    primes.append(candidate)
            seen.update(primes)
            out[-1].append(primes)
    return out


def rows_at(ids, position, pad, multipliers, primes):
    out, mix, offset, blocked = [], 0, 0, False
    for shift, multiplier in enumerate(multipliers):
        blocked = blocked or position < shift or ids[position - shift] < 0
        mix ^= (pad if blocked else ids[position - shift]) * multiplier
        for prime in primes[shift - 1] if shift else ():
            out.append(mix % prime + offset)
            offset += prime
    return out


def equal(found, stored, what):
    assert np.array_equal(np.asarray(found), np.asarray(stored)), what


def check_module(v):
    layers, width, dim, copies = v["layer_ids"], v["head_dim"], v["dim"], v["hc_mult"]
    ids, heads = v["compressed_ids"], v["heads"]
    assert v["primes"] == prime_moduli(len(layers), v["size_per_order"], heads)
    bound = max(1, (2**63 - 1) // v["compressed_vocab"] // 2)
    for layer, multipliers in zip(layers, v["multipliers"], strict=True):
        draws = np.random.default_rng(10007 * layer).integers(0, bound, v["max_ngram"], np.int64)
        equal([2 * int(r) + 1 for r in draws], multipliers, "multipliers")
    layer = v["layer_hash_index"]
    primes, multipliers = v["primes"][layer], v["multipliers"][layer]
    assert v["table_rows"] == sum(map(sum, primes))

    tag, columns, outputs = v["tag"], (v["max_ngram"] - 1) * heads, dim * (copies + 1)
    K = columns * width
    x = to_bf16((uniform(tag + "/x", len(ids) * copies * dim) * 2 - 1) * 4)
    x = x.reshape(len(ids), copies, dim)
    equal(x, v["x_bf16_bits"], "x")
    gains = [
        from_bf16(to_bf16(1 + (2 * uniform(f"{tag}/{name}", copies * dim) - 1) / 4))
        for name in ("q_weight", "k_weight")
    ]
    weight = (gains[0] * gains[1]).astype(np.float64).reshape(copies, dim)
    wkv = E4M3[filler_codes(tag + "/wkv.weight", np.arange(outputs * K))].reshape(outputs, K)
    tiles = raw(tag + "/wkv.scale", np.arange(outputs // 32 * (K // 32))) % np.uint64(2)
    tiles = e8m0(126 + tiles.reshape(outputs // 32, K // 32))
    wkv = wkv * np.repeat(np.repeat(tiles, 32, 0), 32, 1)

    gate_difference, lossless = 0.0, True
    for t, stored in enumerate(v["tokens"]):
        rows = rows_at(ids, t, v["pad"], multipliers, primes)
        equal(rows, stored["rows"], "rows")
        values = []
        for row in rows:
            codes = filler_codes(tag + "/embed.weight", row * width + np.arange(width))
            scales = raw(tag + "/embed.scale", row * (width // 32) + np.arange(width // 32))
            values.append(E4M3[codes] * np.repeat(e8m0(127 + scales % np.uint64(2)), 32))
        exact = np.concatenate(values)
        embed = to_bf16(exact)
        equal(embed, stored["embed_bf16_bits"], "embed")
        equal(from_bf16(embed), exact, "embed is exact")

        blocks = [quantise(block) for block in from_bf16(embed).reshape(-1, 32)]
        equal([scale for scale, _ in blocks], stored["act_scale_e8m0"], "activation scale")
        act = np.concatenate([E4M3[q] * e8m0(scale) for scale, q in blocks])
        lossless = lossless and np.array_equal(act, exact)
        kv = wkv @ act
        products = (wkv * act).astype(np.float32)
        for order in (products, products[:, ::-1]):
            equal(np.cumsum(order, axis=1, dtype=np.float32)[:, -1], kv, "kv is exact in fp32")
        kv = to_bf16(kv)
        equal(kv, stored["kv_bf16_bits"], "kv")

        kv = from_bf16(kv).reshape(copies + 1, dim)
        for real, limit in ((np.float64, 1e-12), (np.float32, 4e-6)):
            key, value = kv[:-1].astype(real), kv[-1].astype(real)
            h = from_bf16(x[t]).astype(real)
            eps, one = real(v["eps"]), real(1)
            r = one / np.sqrt((h * h).mean(-1) + eps) / np.sqrt((key * key).mean(-1) + eps)
            dot = (h * weight.astype(real) * key).sum(-1) * r / np.sqrt(real(dim))
            gate = gate_v41(dot, real(v["clamp"])) * real(ids[t] >= 0)
            assert gate.dtype == real
            assert np.abs(dot - stored["dot"]).max() <= limit, "dot"
            assert np.abs(gate - stored["gate"]).max() <= limit, "gate"
            if real is np.float32:
                gate_difference = max(gate_difference, np.abs(gate - stored["gate"]).max())
            equal(to_bf16(h + gate[:, None] * value), stored["out_bf16_bits"], "out")
        if ids[t] < 0:
            equal(stored["out_bf16_bits"], x[t], "a dead position keeps x")
    return len(ids), gate_difference, lossless


def check_fp8(v):
    bits = [None if np.isnan(f) else int(np.float32(f).view(np.uint32)) for f in E4M3]
    assert bits == v["e4m3fn_to_f32_bits"]
    for block in v["act_quant_blocks"]:
        scale, codes = quantise(from_bf16(block["input_bf16_bits"]))
        assert scale == block["scale_e8m0"], block["name"]
        equal(codes, block["q_e4m3"], block["name"])
    for row in v["rows"]:
        scales = np.repeat(e8m0(np.array(row["e8m0"])), 32)
        equal(to_bf16(E4M3[row["e4m3"]] * scales), row["bf16_bits"], "row")
    return len(v["act_quant_blocks"]), len(v["rows"])


def check_gates(v):
    for case in v["cases"]:
        dot = np.float64(case["dot"])
        assert np.signbit(dot) == (case["dot_is_negative_zero"] or dot < 0)
        assert abs(gate_v41(dot, 1e-6) - case["v41_gate"]) <= 1e-12, dot
        assert abs(gate_demo(dot) - case["demo_gate"]) <= 1e-12, dot
    return len(v["cases"])


def main():
    def load(name):
        with open(os.path.join(sys.argv[1], name), encoding="utf-8") as file:
            return json.load(file)

    tokens, gate_difference, lossless = check_module(load("module_vectors.json"))
    blocks, rows = check_fp8(load("fp8_vectors.json"))
    gates = check_gates(load("gate_edge_cases.json"))
    print(
        f"numpy {np.__version__}: {tokens} tokens, {blocks} blocks, {rows} rows and {gates} gates",
        f"agree; the float32 gate differs by {gate_difference:.2e}; quantising the activations",
        "is lossless" if lossless else "loses bits",
    )


if __name__ == "__main__":
    main()
