#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
"""Makes or checks tests/golden/vectors/demo_module_torch.json: the paper demo's module in PyTorch.

usage: demo_module.py demo_module_torch.json [--write]

The module is stated with torch's own layers (Linear, RMSNorm, Conv1d) and runs on the CPU in
float64 and in float32; the file holds the float64 gate and output, the output being what the demo
adds to the hidden states, and autograd's gradients of sum(upstream * output), rounded to 12 digits.
Inputs and weights are not stored, they follow from the filler rules in
the file. --write stores what was found, otherwise a difference above 1e-12 (in gradients: 1e-10 of
the largest) gives exit 1. The module
must also reproduce demo_module_vectors.json, looked for beside the file. No test needs Python. The
file in the repository was made with torch 2.15.0 and numpy 2.4.6.
"""

import argparse
import json
import os
import sys

import numpy
import torch
from torch import nn

KEY_QUERY_EPS = torch.finfo(torch.float32).eps
CONV_EPS = 1e-5
SCALES = {
    "emb": 0.5,
    "hidden": 0.5,
    "key.weight": 0.5,
    "key.bias": 0.5,
    "value.weight": 0.5,
    "value.bias": 0.5,
    "norm1": 0.5,
    "norm2": 0.5,
    "conv.norm": 0.5,
    "conv.weight": 0.5,
}
NORMS = ("norm1", "norm2", "conv.norm")

# The keys of a case, besides those of case(): zero_hidden lists the tokens whose hidden states are
# set to 0 after filling.
CASES = [
    dict(name="base", T=14, G=2, D=8, M=12, kernel=4, dilation=3),
    dict(
        name="one_branch", T=11, G=1, D=40, M=64, kernel=4, dilation=2,
        scales={"emb": 2.0, "hidden": 8.0, "key.weight": 0.25, "value.weight": 0.25},
    ),
    # Small enough for every epsilon to matter.
    dict(
        name="odd_width_no_bias", T=10, G=4, D=33, M=48, kernel=3, dilation=3, bias=False,
        scales={"hidden": 2.0**-11, "key.weight": 2.0**-12, "value.weight": 2.0**-7},
    ),
    dict(
        name="no_conv_plain_gate", T=6, G=3, D=16, M=32, kernel=0, dilation=3, gate="sigmoid",
        scales={"hidden": 1.0, "key.weight": 1.0},
    ),
    # Shorter than the reach of the convolution; token 2 has the dot product 0 in both branches.
    dict(name="zero_query", T=5, G=2, D=6, M=10, kernel=4, dilation=3, zero_hidden=[2]),
]  # fmt: skip

RULES = {
    "fnv1a64(s)": "h = 0xCBF29CE484222325; for each byte b of s: h = (h xor b) * 0x100000001B3",
    "splitmix64(z)": "z += 0x9E3779B97F4A7C15; z = (z xor z>>30) * 0xBF58476D1CE4E5B9; "
    "z = (z xor z>>27) * 0x94D049BB133111EB; result z xor z>>31; all modulo 2^64",
    "u(name,i)": "(splitmix64(fnv1a64(name) xor (i * 0x9E3779B97F4A7C15)) >> 40) / 2^24",
    "array": "element i, row-major, is f32((2u-1)*scale) with u = u('torch/<case>/<array>', i); "
    "where plus_one is true it is f32(1 + that); hidden is 0 at the tokens in zero_hidden",
    "norms": "norm1: gain of the key's RMSNorm; norm2: of the query's; conv.norm: of the "
    "convolution's input; one gain per branch, each norm over the D values of one branch",
    "gate": "dot = sum(norm(key)*norm(hidden))/sqrt(D); signed_sqrt: "
    "sigmoid(sign(dot)*sqrt(max(|dot|,1e-6))), sign(0) = 0; sigmoid: sigmoid(dot)",
    "gradients": "of sum(upstream * output) for each array, flat, row-major; upstream [T, G, D] is "
    "filled as an array of that name with scale 1",
    "output": "v + SiLU(conv(norm(v))), v = gate*value; v alone where kernel is 0; "
    "channel = g*D + d; tap j multiplies position t-(kernel-1-j)*dilation",
}


class Module(nn.Module):
    """Gate, value and short convolution for [T, M] embeddings and [T, G, D] hidden states."""

    def __init__(self, G, D, M, kernel, dilation, bias, gate):
        super().__init__()
        self.width = D
        self.gate_form = gate
        self.keys = nn.ModuleList(nn.Linear(M, D, bias=bias) for _ in range(G))
        self.value = nn.Linear(M, D, bias=bias)
        # float32's epsilon in either precision: RMSNorm's own default follows the input's type.
        self.norms1 = nn.ModuleList(nn.RMSNorm(D, eps=KEY_QUERY_EPS) for _ in range(G))
        self.norms2 = nn.ModuleList(nn.RMSNorm(D, eps=KEY_QUERY_EPS) for _ in range(G))
        self.conv = None
        if kernel:
            self.conv_norms = nn.ModuleList(nn.RMSNorm(D, eps=CONV_EPS) for _ in range(G))
            self.conv = nn.Conv1d(
                G * D,
                G * D,
                kernel,
                groups=G * D,
                bias=False,
                padding=(kernel - 1) * dilation,
                dilation=dilation,
            )

    def load(self, arrays):
        """Copies the arrays, named as in SCALES, into the layers."""

        def put(parameter, array):
            parameter.data.copy_(torch.from_numpy(array).reshape(parameter.shape))

        for g, key in enumerate(self.keys):
            put(key.weight, arrays["key.weight"][g])
            put(self.norms1[g].weight, arrays["norm1"][g])
            put(self.norms2[g].weight, arrays["norm2"][g])
            if key.bias is not None:
                put(key.bias, arrays["key.bias"][g])
        put(self.value.weight, arrays["value.weight"])
        if self.value.bias is not None:
            put(self.value.bias, arrays["value.bias"])
        if self.conv is not None:
            for g, norm in enumerate(self.conv_norms):
                put(norm.weight, arrays["conv.norm"][g])
            put(self.conv.weight, arrays["conv.weight"])

    def forward(self, emb, hidden):
        gates = []
        for g, key in enumerate(self.keys):
            k = self.norms1[g](key(emb))
            q = self.norms2[g](hidden[:, g])
            dot = (k * q).sum(-1) / self.width**0.5
            if self.gate_form == "signed_sqrt":
                dot = dot.sign() * dot.abs().clamp_min(1e-6).sqrt()
            gates.append(dot.sigmoid())
        gate = torch.stack(gates, 1)
        value = gate.unsqueeze(-1) * self.value(emb).unsqueeze(1)
        if self.conv is None:
            return gate, value
        tokens, branches, width = value.shape
        normed = torch.cat([norm(value[:, g]) for g, norm in enumerate(self.conv_norms)], -1)
        mixed = self.conv(normed.T.unsqueeze(0))[0, :, :tokens].T
        mixed = nn.functional.silu(mixed).reshape(tokens, branches, width)
        return gate, value + mixed


def fill(name, shape, scale, plus_one):
    """One array by the rules above."""
    h = 0xCBF29CE484222325
    for byte in name.encode():
        h = (h ^ byte) * 0x100000001B3 % 2**64
    golden = numpy.uint64(0x9E3779B97F4A7C15)
    z = (numpy.arange(numpy.prod(shape), dtype=numpy.uint64) * golden) ^ numpy.uint64(h)
    z += golden
    z = (z ^ (z >> numpy.uint64(30))) * numpy.uint64(0xBF58476D1CE4E5B9)
    z = (z ^ (z >> numpy.uint64(27))) * numpy.uint64(0x94D049BB133111EB)
    z ^= z >> numpy.uint64(31)
    u = (z >> numpy.uint64(40)).astype(numpy.float64) / 2**24
    array = ((2 * u - 1) * scale).astype(numpy.float32)
    if plus_one:
        array = numpy.float32(1) + array
    return array.reshape(shape)


def shapes(T, G, D, M, kernel, bias):
    out = {"emb": [T, M], "hidden": [T, G, D], "key.weight": [G, D, M]}
    if bias:
        out["key.bias"] = [G, D]
    out["value.weight"] = [D, M]
    if bias:
        out["value.bias"] = [D]
    out.update({"norm1": [G, D], "norm2": [G, D]})
    if kernel:
        out.update({"conv.norm": [G, D], "conv.weight": [G * D, kernel]})
    return out


def run(parameters, arrays, dtype):
    module = Module(**parameters).to(dtype)
    module.load(arrays)
    with torch.no_grad():
        gate, output = module(*(torch.from_numpy(arrays[a]).to(dtype) for a in ("emb", "hidden")))
    return gate.to(torch.float64).numpy(), output.to(torch.float64).numpy()


def gradients(parameters, arrays, upstream):
    """Of sum(upstream * output), in float64, by the names of the arrays."""
    module = Module(**parameters).to(torch.float64)
    module.load(arrays)
    inputs = {
        a: torch.from_numpy(arrays[a]).to(torch.float64).requires_grad_() for a in ("emb", "hidden")
    }
    _, output = module(inputs["emb"], inputs["hidden"])
    (torch.from_numpy(upstream).to(torch.float64) * output).sum().backward()
    found = {a: x.grad for a, x in inputs.items()}
    found["key.weight"] = torch.stack([k.weight.grad for k in module.keys])
    found["value.weight"] = module.value.weight.grad
    if parameters["bias"]:
        found["key.bias"] = torch.stack([k.bias.grad for k in module.keys])
        found["value.bias"] = module.value.bias.grad
    found["norm1"] = torch.stack([n.weight.grad for n in module.norms1])
    found["norm2"] = torch.stack([n.weight.grad for n in module.norms2])
    if module.conv is not None:
        found["conv.norm"] = torch.stack([n.weight.grad for n in module.conv_norms])
        found["conv.weight"] = module.conv.weight.grad
    return {a: [float(f"{x:.12g}") for x in g.flatten().tolist()] for a, g in found.items()}


def difference(a, b):
    return float(numpy.abs(numpy.asarray(a) - numpy.asarray(b)).max())


def case(
    name, T, G, D, M, kernel, dilation, bias=True, gate="signed_sqrt", scales=None, zero_hidden=()
):
    scales = {**SCALES, **(scales or {})}
    rules = {
        array: {"shape": shape, "scale": scales[array], "plus_one": array in NORMS}
        for array, shape in shapes(T, G, D, M, kernel, bias).items()
    }
    arrays = {array: fill(f"torch/{name}/{array}", **rule) for array, rule in rules.items()}
    arrays["hidden"][list(zero_hidden)] = 0
    module = dict(G=G, D=D, M=M, kernel=kernel, dilation=dilation, bias=bias, gate=gate)
    gates, output = run(module, arrays, torch.float64)
    gates32, output32 = run(module, arrays, torch.float32)
    assert all((gates[t] == 0.5).all() and (gates32[t] == 0.5).all() for t in zero_hidden)
    apart = difference(gates, gates32), difference(output, output32)
    print(
        f"{name}: gate {gates.min():.4f} to {gates.max():.4f},",
        f"|output| to {abs(output).max():.3f}; float32 is off by {apart[0]:.2e} and {apart[1]:.2e}",
    )
    found = dict(name=name, T=T, G=G, D=D, M=M, kernel=kernel, dilation=dilation, bias=bias)
    found.update(gate_form=gate, zero_hidden=list(zero_hidden), arrays=rules)
    found.update(gate=gates.tolist(), output=output.tolist())
    upstream = fill(f"torch/{name}/upstream", [T, G, D], 1.0, False)
    found.update(gradients=gradients(module, arrays, upstream))
    return found


def check_demo_vectors(path):
    with open(path, encoding="utf-8") as file:
        vectors = json.load(file)
    # Its gains are 1 + a float32 value in double, not rounded to float32.
    arrays = {
        array: fill(f"demo/{array}", shape, 0.5, False) + numpy.float64(array in NORMS)
        for array, shape in vectors["arrays"].items()
    }
    module = dict(
        G=vectors["hc_mult"],
        D=vectors["hidden"],
        M=vectors["engram_hidden"],
        kernel=vectors["kernel"],
        dilation=vectors["dilation"],
        bias=True,
        gate="signed_sqrt",
    )
    assert vectors["rms_eps_key_query"] == KEY_QUERY_EPS and vectors["rms_eps_conv"] == CONV_EPS
    gate, output = run(module, arrays, torch.float64)
    gate_difference = difference(gate, vectors["gate"])
    output_difference = difference(output, vectors["engram_output"])
    print(f"{os.path.basename(path)}: differs by {gate_difference:.2e} and {output_difference:.2e}")
    assert gate_difference <= 1e-12 and output_difference <= 1e-12


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("vectors")
    parser.add_argument("--write", action="store_true")
    arguments = parser.parse_args()

    print("torch", torch.__version__, "numpy", numpy.__version__, file=sys.stderr)
    torch.set_num_threads(1)
    found = {
        "eps_key_query": KEY_QUERY_EPS,
        "eps_conv": CONV_EPS,
        "rules": RULES,
        "cases": [case(**parameters) for parameters in CASES],
    }
    demo = os.path.join(os.path.dirname(arguments.vectors), "demo_module_vectors.json")
    if os.path.exists(demo):
        check_demo_vectors(demo)
    else:
        print("demo_module_vectors.json: not there, not compared")
    if arguments.write:
        with open(arguments.vectors, "w", encoding="utf-8") as file:
            json.dump(found, file, separators=(",", ":"))
            file.write("\n")
        return
    with open(arguments.vectors, encoding="utf-8") as file:
        stored = json.load(file)
    numbers = ("gate", "output")
    worst = 0.0
    for ours, theirs in zip(found["cases"], stored["cases"], strict=True):
        worst = max(worst, *(difference(ours.pop(key), theirs.pop(key)) for key in numbers))
        slopes, stored_slopes = ours.pop("gradients"), theirs.pop("gradients")
        assert slopes.keys() == stored_slopes.keys()
        for array, values in slopes.items():
            largest = max(1.0, abs(numpy.asarray(values)).max())
            worst = max(worst, difference(values, stored_slopes[array]) / largest * 1e-2)
    print(f"{os.path.basename(arguments.vectors)}: differs by {worst:.2e}")
    if worst > 1e-12 or found != stored:
        sys.exit(1)


if __name__ == "__main__":
    main()
