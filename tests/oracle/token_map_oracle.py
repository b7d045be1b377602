#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
"""Makes a token map with the Hugging Face `tokenizers` library and prints its golden values.

    python3 token_map_oracle.py path/to/tokenizer.json [--out map.bin]

This is the independent road to the values in tests/golden/tokenizer_map_test.cpp: the rule is the
reference's (decode one token; a text with U+FFFD keeps its token string; else the normaliser chain;
empty results keep the text; ids count up in order of first appearance), and decoding and
normalising are the library's, not ours. Needs the Python packages tokenizers and numpy; no test
needs Python.
"""
import argparse
import hashlib

import numpy
import tokenizers
from tokenizers import Regex, Tokenizer, normalizers


def normalizer():
    return normalizers.Sequence([
        normalizers.NFKC(),
        normalizers.NFD(),
        normalizers.StripAccents(),
        normalizers.Lowercase(),
        normalizers.Replace(Regex("[ \t\r\n]+"), " "),
        normalizers.Replace(Regex("^ $"), "\uE000"),
        normalizers.Strip(),
        normalizers.Replace("\uE000", " "),
    ])


def token_map(path):
    tokenizer = Tokenizer.from_file(path)
    chain = normalizer()
    ids = {}
    entries = []
    for token in range(tokenizer.get_vocab_size(with_added_tokens=True)):
        text = tokenizer.decode([token], skip_special_tokens=False)
        if "\uFFFD" in text:
            key = tokenizer.id_to_token(token)
        else:
            key = chain.normalize_str(text) or text
        entries.append(ids.setdefault(key, len(ids)))
    return numpy.array(entries, dtype="<i4"), len(ids)


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("tokenizer", help="path to a tokenizer.json")
    parser.add_argument("--out", help="write the map as little-endian int32")
    arguments = parser.parse_args()
    entries, compressed = token_map(arguments.tokenizer)
    print("tokenizers", tokenizers.__version__)
    print("entries   ", len(entries))
    print("compressed", compressed)
    print("sha256    ", hashlib.sha256(entries.tobytes()).hexdigest())
    if arguments.out:
        entries.tofile(arguments.out)


if __name__ == "__main__":
    main()
