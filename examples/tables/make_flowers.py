#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
"""flowers.csv (or the path given): 150 flowers of three species by the length and width of their leaves in cm, the species spread about
means of their own and overlapping a little; and more.csv beside it, 10 flowers without their species."""
import csv
import os
import random
import sys

SPECIES = {"daisy": (5.0, 3.4, 1.5, 0.3), "marigold": (5.9, 2.8, 4.3, 1.3), "poppy": (6.6, 3.0, 5.6, 2.0)}
COLUMNS = ["sepal_length", "sepal_width", "petal_length", "petal_width"]


def flower(random_state, means):
    return [f"{max(0.1, random_state.gauss(mean, 0.1 + 0.07 * mean)):.1f}" for mean in means]


def main(path):
    state = random.Random(1)
    names = [name for name in SPECIES for _ in range(50)]
    state.shuffle(names)
    with open(path, "w", newline="", encoding="utf-8") as file:
        rows = csv.writer(file)
        rows.writerow([*COLUMNS, "species"])
        rows.writerows([*flower(state, SPECIES[name]), name] for name in names)
    with open(os.path.join(os.path.dirname(path), "more.csv"), "w", newline="", encoding="utf-8") as file:
        rows = csv.writer(file)
        rows.writerow(COLUMNS)
        rows.writerows(flower(state, state.choice(list(SPECIES.values()))) for _ in range(10))


if __name__ == "__main__":
    main(sys.argv[1] if len(sys.argv) > 1 else "flowers.csv")
