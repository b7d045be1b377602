#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
"""Compares a normaliser with the chain of the Hugging Face `tokenizers` library.

    python3 normalizer_oracle.py [--tokenizer tokenizer.json] [--random 200000] -- COMMAND...

COMMAND reads one JSON string per line and, at the end of its input, prints one JSON string per
line, the key: `engram normalize`, or a program made from normalizer_candidates.cpp. Compared are

  code points   every code point that is no surrogate, alone
  in a word     the same between the letters a and b, where dropped marks show
  tokens        the decoded text of every token of the tokenizer, with --tokenizer
  random        strings of up to 12 assigned code points, half of them rich in marks, jamo, white
                space and letters with decompositions; the seed is fixed

The digest of the second set's expected keys, one a line, is the golden value in
tests/golden/normalizer_vectors_test.cpp. Differing code points are counted by general category; --list prints every difference. Exit status
0 when nothing differs. Needs the Python package tokenizers; no test needs Python.
"""
import argparse
import collections
import hashlib
import json
import random
import subprocess
import sys
import unicodedata

import tokenizers
from tokenizers import Tokenizer

from token_map_oracle import normalizer


def code_points():
    return [chr(c) for c in range(0x110000) if not 0xD800 <= c < 0xE000]


def tokens(path):
    tokenizer = Tokenizer.from_file(path)
    size = tokenizer.get_vocab_size(with_added_tokens=True)
    return [tokenizer.decode([i], skip_special_tokens=False) for i in range(size)]


def random_strings(count):
    rng = random.Random(20260110)
    assigned = [c for c in code_points() if unicodedata.category(c) not in ("Cn", "Cs")]
    rich = [c for c in assigned
            if unicodedata.category(c)[0] in "MZ" or unicodedata.decomposition(c)
            or unicodedata.combining(c) or 0x1100 <= ord(c) < 0x1200 or c in "\t\n\v\f\r\x85\ue000"]
    out = []
    for i in range(count):
        alphabet = rich if i % 2 else assigned
        text = [rng.choice(alphabet) for _ in range(rng.randint(1, 12))]
        if i % 4 == 3:
            text = [rng.choice(" \t\r\n\u00a0\ue000aA\u0301") if rng.random() < 0.5 else c
                    for c in text]
        out.append("".join(text))
    return out


def keys_of(command, texts):
    lines = "".join(json.dumps(text) + "\n" for text in texts)
    run = subprocess.run(command, input=lines.encode(), stdout=subprocess.PIPE, check=True)
    keys = [json.loads(line) for line in run.stdout.splitlines()]
    if len(keys) != len(texts):
        sys.exit(f"{command[0]}: {len(keys)} lines for {len(texts)} texts")
    return keys


def spell(text):
    return " ".join(f"{ord(c):04X}" for c in text) or "(empty)"


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--tokenizer", help="path to a tokenizer.json")
    parser.add_argument("--random", type=int, default=200000, help="number of random strings")
    parser.add_argument("--list", action="store_true", help="list every difference")
    parser.add_argument("command", nargs="+")
    arguments = parser.parse_args()
    chain = normalizer()
    print("tokenizers", tokenizers.__version__, "| this Python's Unicode",
          unicodedata.unidata_version)
    sets = [("code points", code_points()),
            ("in a word", ["a" + c + "b" for c in code_points()])]
    if arguments.tokenizer:
        sets.append(("tokens", tokens(arguments.tokenizer)))
    sets.append(("random", random_strings(arguments.random)))
    differing = 0
    for name, texts in sets:
        expected = [chain.normalize_str(text) or text for text in texts]
        found = keys_of(arguments.command, texts)
        wrong = [i for i in range(len(texts)) if found[i] != expected[i]]
        differing += len(wrong)
        print(f"{name}: {len(texts)} compared, {len(wrong)} differ")
        if name == "in a word":
            lines = "".join(key + "\n" for key in expected).encode()
            print("  expected sha256", hashlib.sha256(lines).hexdigest())
            classes = collections.Counter(unicodedata.category(texts[i][1]) for i in wrong)
            for category, count in sorted(classes.items()):
                print(f"  category {category}: {count}")
        for i in wrong if arguments.list else wrong[:5]:
            print(f"  {spell(texts[i])}: expected {spell(expected[i])}, found {spell(found[i])}")
    return 1 if differing else 0


if __name__ == "__main__":
    sys.exit(main())
