#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
"""Writes a GGUF file with the gguf package, and what the package reads in it and in one of the tests' own writer.

usage: gguf_sample.py OURS.gguf THEIRS.gguf OUTPUT.json
(vectors/gguf_ours.gguf is what tests/golden/gguf_test.cpp writes; the other two in the repository were made with gguf
0.19.0, NumPy 2.4.6)
"""
import importlib.metadata
import json
import sys

import gguf
import numpy

ours, theirs, output = sys.argv[1:]

writer = gguf.GGUFWriter(theirs, "deepseek41")
writer.add_custom_alignment(64)
writer.add_uint8("n.u8", 200)
writer.add_int8("n.i8", -100)
writer.add_uint16("n.u16", 60000)
writer.add_int16("n.i16", -30000)
writer.add_uint32("n.u32", 4000000000)
writer.add_int32("n.i32", -2000000000)
writer.add_uint64("n.u64", 2**64 - 2)
writer.add_int64("n.i64", -(2**63))
writer.add_float32("n.f32", 0.25)
writer.add_float64("n.f64", 1e-300)
writer.add_bool("n.bool", True)
writer.add_string("n.string", "a \u00e4 \U0001f600")
writer.add_array("a.strings", ["x", "", "\u0120the"])
writer.add_array("a.ints", [-1, 0, 2**31 - 1])
writer.add_array("a.floats", [0.5, -1.5])
writer.add_array("a.bools", [True, False])
writer.add_tensor("f32", numpy.arange(6, dtype=numpy.float32).reshape(2, 3))
writer.add_tensor("f16", numpy.arange(5, dtype=numpy.float16))
rows = numpy.linspace(-1, 1, 3 * 256, dtype=numpy.float32).reshape(3, 256)
writer.add_tensor(
    "q8", gguf.quants.quantize(rows, gguf.GGMLQuantizationType.Q8_0), raw_dtype=gguf.GGMLQuantizationType.Q8_0
)
writer.write_header_to_file()
writer.write_kv_data_to_file()
writer.write_tensors_to_file()
writer.close()


def plain(value):
    if isinstance(value, (list, tuple)):
        return [plain(v) for v in value]
    return value.item() if isinstance(value, numpy.generic) else value


def contents(path):
    reader = gguf.GGUFReader(path)
    return {
        "keys": {k: plain(f.contents()) for k, f in reader.fields.items() if not k.startswith("GGUF.")},
        "tensors": [
            {
                "name": t.name,
                "type": t.tensor_type.name,
                "shape": [int(n) for n in t.shape],
                "offset": int(t.data_offset),
                "bytes": int(t.n_bytes),
            }
            for t in reader.tensors
        ],
    }


with open(output, "w") as file:
    json.dump(
        {"gguf": importlib.metadata.version("gguf"), "ours": contents(ours), "theirs": contents(theirs)},
        file,
        separators=(",", ":"),
    )
