# SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
"""Makes or checks tests/golden/vectors/pre_tokenizers.json with the `tokenizers` package.

usage: pre_tokenizer_oracle.py pre_tokenizers.json TEXT [--write]

The file is a list of {"name", "pre_tokenizer", "pieces", "sha256"}. Each pre-tokenizer cuts TEXT;
the digest is that of its pieces, in the byte alphabet, one a line. --write stores what was found,
otherwise a difference gives exit 1. TEXT is random-2.txt, which the golden test writes to the folder
that ENGRAM_WRITE_RANDOM_TEXT names.
"""

import argparse
import hashlib
import json
import sys

import tokenizers


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("vectors")
    parser.add_argument("text")
    parser.add_argument("--write", action="store_true")
    arguments = parser.parse_args()

    print("tokenizers", tokenizers.__version__, file=sys.stderr)
    with open(arguments.vectors, encoding="utf-8") as file:
        vectors = json.load(file)
    with open(arguments.text, encoding="utf-8", newline="") as file:
        text = file.read()
    failed = False
    for vector in vectors:
        tokenizer = tokenizers.Tokenizer.from_str(
            json.dumps(
                {
                    "version": "1.0",
                    "added_tokens": [],
                    "pre_tokenizer": vector["pre_tokenizer"],
                    "model": {"type": "BPE", "vocab": {"a": 0}, "merges": []},
                }
            )
        )
        pieces = [piece for piece, _ in tokenizer.pre_tokenizer.pre_tokenize_str(text)]
        digest = hashlib.sha256("".join(piece + "\n" for piece in pieces).encode()).hexdigest()
        found = {"pieces": len(pieces), "sha256": digest}
        same = all(vector.get(key) == value for key, value in found.items())
        failed = failed or not same
        print(vector["name"], len(pieces), digest, "" if same else "(differs)")
        vector.update(found)
    if arguments.write:
        with open(arguments.vectors, "w", encoding="utf-8") as file:
            json.dump(vectors, file, indent=1)
            file.write("\n")
    elif failed:
        sys.exit(1)


if __name__ == "__main__":
    main()
