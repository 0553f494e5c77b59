#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
"""make_idx.py FOLDER [ROWS [CLASSES]]: a small dataset in IDX files that a net can learn: in each picture of 8 × 8 bytes the rows
of one class are bright. The same files each time."""
import random
import struct
import sys


def write(folder, name, count, seed, classes):
    generator = random.Random(seed)
    images = bytearray()
    labels = bytearray()
    for _ in range(count):
        label = generator.randrange(classes)
        labels.append(label)
        for row in range(8):
            for _ in range(8):
                images.append(generator.randrange(180, 256) if row // 2 == label % 4 else generator.randrange(0, 60))
    with open(f"{folder}/{name}-images-idx3-ubyte", "wb") as file:
        file.write(struct.pack(">IIII", 0x803, count, 8, 8) + images)
    with open(f"{folder}/{name}-labels-idx1-ubyte", "wb") as file:
        file.write(struct.pack(">II", 0x801, count) + labels)


rows = int(sys.argv[2]) if len(sys.argv) > 2 else 600
classes = int(sys.argv[3]) if len(sys.argv) > 3 else 4
write(sys.argv[1], "train", rows, 1, classes)
write(sys.argv[1], "t10k", rows // 3, 2, classes)
