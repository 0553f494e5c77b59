#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
"""An hourly load over 120 days, made up: a day's rhythm, a week's, the weather, and noise. make_series.py FILE"""
import math
import random
import sys


def main(path):
    random.seed(1)
    warmth = 0.0
    with open(path, "w", encoding="utf-8") as table:
        table.write("hour,temperature,load\n")
        for i in range(24 * 120):
            warmth = 0.98 * warmth + random.gauss(0, 0.3)
            temperature = 12 + 6 * math.sin(2 * math.pi * (i - 9) / 24) + 3 * warmth
            week = 0.6 if (i // 24) % 7 > 4 else 1.0
            load = week * (2 + math.sin(2 * math.pi * (i - 6) / 24)) + 0.03 * max(0, 15 - temperature) + random.gauss(0, 0.05)
            day = i // 24
            table.write(f"2024-{1 + day // 30:02d}-{1 + day % 30:02d}T{i % 24:02d},{temperature:.2f},{load:.4f}\n")


if __name__ == "__main__":
    main(sys.argv[1])
