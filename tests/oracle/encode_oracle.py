# SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
"""Ids, count and digest of texts by the `tokenizers` package, the reference of the encoder.

usage: encode_oracle.py tokenizer.json TEXT... [--ids FILE] [--normalizer JSON]

Prints one line a text: path, number of ids, SHA-256 of the ids as little-endian int32.
--ids writes the ids of all texts, one after the other, in that form.
--normalizer puts another normalizer in the tokenizer's place, such as {"type": "NFC"}.
Golden values of tests/golden/bpe_test.cpp: pip install tokenizers==0.23.3.
"""

import argparse
import array
import hashlib
import json
import sys


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("tokenizer")
    parser.add_argument("texts", nargs="+")
    parser.add_argument("--ids")
    parser.add_argument("--normalizer", type=json.loads)
    arguments = parser.parse_args()

    import tokenizers

    print("tokenizers", tokenizers.__version__, file=sys.stderr)
    with open(arguments.tokenizer, encoding="utf-8") as file:
        description = json.load(file)
    if arguments.normalizer:
        description["normalizer"] = arguments.normalizer
    tokenizer = tokenizers.Tokenizer.from_str(json.dumps(description))
    tokenizer.no_truncation()
    tokenizer.no_padding()
    out = open(arguments.ids, "wb") if arguments.ids else None
    for path in arguments.texts:
        with open(path, encoding="utf-8", newline="") as file:
            text = file.read()
        ids = array.array("i", tokenizer.encode(text, add_special_tokens=False).ids)
        if sys.byteorder == "big":
            ids.byteswap()
        print(path, len(ids), hashlib.sha256(ids.tobytes()).hexdigest())
        if out:
            out.write(ids.tobytes())


if __name__ == "__main__":
    main()
