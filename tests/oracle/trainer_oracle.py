# SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
"""Checks a tokenizer.json that engram wrote with the `tokenizers` package.

usage: trainer_oracle.py tokenizer.json [--compare TEXT IDS]... [--train TEXT...] [--min-frequency N]

--compare TEXT IDS  the package gives the ids in the file IDS (little-endian int32, as written by
                    `engram encode --out`) for the text
--train TEXT...     trains the package's own trainer on these texts with the file's pre-tokenizer,
                    size and special tokens and compares vocabulary and merges
Prints the number and the SHA-256 of the merges, one "left right" a line; exit 1 on a difference.
"""

import argparse
import array
import hashlib
import json
import sys

from tokenizers import Tokenizer, models, pre_tokenizers, trainers


def read_text(path):
    with open(path, encoding="utf-8", newline="") as file:
        return file.read()


def first_difference(a, b):
    for i, (x, y) in enumerate(zip(a, b)):
        if x != y:
            return i
    return min(len(a), len(b))


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("tokenizer")
    parser.add_argument("--compare", nargs=2, action="append", default=[])
    parser.add_argument("--train", nargs="+")
    parser.add_argument("--min-frequency", type=int, default=2)
    arguments = parser.parse_args()

    tokenizer = Tokenizer.from_file(arguments.tokenizer)
    with open(arguments.tokenizer, encoding="utf-8") as file:
        written = json.load(file)
    merges = [tuple(merge) for merge in written["model"]["merges"]]
    digest = hashlib.sha256("".join(f"{a} {b}\n" for a, b in merges).encode()).hexdigest()
    print("tokens", tokenizer.get_vocab_size(), "merges", len(merges), digest)
    failed = False

    for text, ids in arguments.compare:
        ours = array.array("i")
        with open(ids, "rb") as file:
            ours.frombytes(file.read())
        theirs = tokenizer.encode(read_text(text), add_special_tokens=False).ids
        same = ours.tolist() == theirs
        failed = failed or not same
        where = "" if same else f", differ at {first_difference(ours.tolist(), theirs)}"
        print(text, len(ours), "ids, the package", len(theirs), where or ", equal")

    if arguments.train:
        other = Tokenizer(models.BPE())
        other.pre_tokenizer = tokenizer.pre_tokenizer
        trainer = trainers.BpeTrainer(
            vocab_size=tokenizer.get_vocab_size(),
            min_frequency=arguments.min_frequency,
            special_tokens=[token["content"] for token in written["added_tokens"]],
            initial_alphabet=pre_tokenizers.ByteLevel.alphabet(),
            show_progress=False,
        )
        other.train_from_iterator([read_text(path) for path in arguments.train], trainer)
        model = json.loads(other.to_str())["model"]
        theirs = [tuple(merge) for merge in model["merges"]]
        same = theirs == merges and model["vocab"] == written["model"]["vocab"]
        failed = failed or not same
        where = "" if same else f"first merge that differs: {first_difference(merges, theirs)}"
        print("trained by the package:", len(theirs), "merges,", where or "equal")
    sys.exit(1 if failed else 0)


if __name__ == "__main__":
    main()
