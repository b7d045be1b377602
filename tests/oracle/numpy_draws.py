#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
"""Writes tests/golden/vectors/numpy_draws.json: multipliers as NumPy draws them.

usage: numpy_draws.py OUTPUT    (the file in the repository was made with NumPy 2.4.6)
"""
import json
import sys

import numpy

draws = []
for size in (1, 2, 1000, 98627, 99092, 128815, 129280, 2**20 + 7, 2**29):
    bound = max(1, ((2**63 - 1) // size) // 2)
    for seed in (0, 1, 12345, 2**32 - 1, 2**32, 2**53 + 1, 2**63 + 11):
        for layer in (0, 1, 14, 15, 60):
            generator = numpy.random.default_rng(seed + 10007 * layer)
            r = generator.integers(0, bound, size=8, dtype=numpy.int64)
            multipliers = [str(2 * int(x) + 1) for x in r]
            draws.append({"size": size, "seed": str(seed), "layer": layer, "multipliers": multipliers})
with open(sys.argv[1], "w") as file:
    json.dump({"numpy": numpy.__version__, "draws": draws}, file, separators=(",", ":"))
