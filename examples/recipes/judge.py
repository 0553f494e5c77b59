#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
"""Says what a classifier makes of rows: tl_hub predict --model CLASSIFIER --input DATASET:SPLIT -o json | judge.py

top       mean probability of the class that it takes a row for: is a row like something real?
each      mean entropy of a row's probabilities, in nats: 0 where it is sure of every row
together  entropy of the mean probabilities, in nats: log(classes) where it finds as many of each
score     exp of the mean divergence of a row's probabilities from the mean ones: 1 for noise, at most the number of
          classes (the inception score: Salimans et al., "Improved techniques for training GANs", 2016)
"""
import json
import math
import sys


def entropy(probabilities):
    return -sum(p * math.log(p) for p in probabilities if p > 0)


def main():
    if len(sys.argv) > 1:
        sys.exit(__doc__)
    rows = [row["probabilities"] for row in json.load(sys.stdin)]
    mean = [sum(column) / len(rows) for column in zip(*rows)]
    each = sum(map(entropy, rows)) / len(rows)
    print(json.dumps({"rows": len(rows), "top": sum(map(max, rows)) / len(rows), "each": each, "together": entropy(mean),
                      "score": math.exp(entropy(mean) - each)}))


if __name__ == "__main__":
    main()
