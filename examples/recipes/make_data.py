#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
"""Makes the data of the recipes' examples as safetensors, with nothing but Python's own library.

usage: make_data.py DIRECTORY [FASHION]     FASHION: the folder of Fashion-MNIST (default /usr/share/datasets/fashion-mnist)

series.safetensors    a noisy sum of two waves and a slow walk, (rows, 1), in three splits that follow each other; no labels
ratings.safetensors   rows (user, item), the label a rating from 1 to 5: how alike two hidden vectors are, and noise
choices.safetensors   rows (user, item) that each user chose, most of them alike to him; no labels
clothes.safetensors   trousers, bags and ankle boots of Fashion-MNIST at half size, 14 by 14, from -1 to 1; no labels
clothes-labelled.safetensors   the same with their classes (0, 1, 2), for the classifier that judges
"""
import gzip
import json
import math
import pathlib
import random
import struct
import sys


def write(path, tensors):
    """tensors: {name: (dtype, shape, values)}"""
    header, body = {}, b""
    for name, (dtype, shape, values) in tensors.items():
        data = struct.pack(f"<{len(values)}{'f' if dtype == 'F32' else 'q'}", *values)
        header[name] = {"dtype": dtype, "shape": shape, "data_offsets": [len(body), len(body) + len(data)]}
        body += data
    text = json.dumps(header).encode()
    text += b" " * (-len(text) % 8)
    path.write_bytes(struct.pack("<Q", len(text)) + text + body)
    print(path)


def split(rows, width, names=("train", "validation", "test"), shares=(0.7, 0.15, 0.15)):
    """Consecutive parts of rows, each (count, width)."""
    tensors, first = {}, 0
    for i, name in enumerate(names):
        count = len(rows) - first if i == len(names) - 1 else int(len(rows) * shares[i])
        part = rows[first:first + count]
        first += count
        tensors[f"{name}.x"] = ("F32", [count, width], [v for row in part for v in row[:width]])
        if len(rows[0]) > width:
            tensors[f"{name}.y"] = ("F32", [count], [row[width] for row in part])
    return tensors


def series(count=3000):
    rng, walk, rows = random.Random(1), 0.0, []
    for t in range(count):
        walk = 0.98 * walk + rng.gauss(0, 0.03)
        rows.append((math.sin(t / 5) + 0.5 * math.sin(t / 17 + 1) + walk + rng.gauss(0, 0.05),))
    return rows


def vectors(rng, count, width=4):
    return [[rng.gauss(0, 1) for _ in range(width)] for _ in range(count)]


def ratings(users=200, items=120, each=40):
    rng = random.Random(2)
    u, v, rows = vectors(rng, users), vectors(rng, items), []
    liking = [rng.gauss(0, 0.4) for _ in range(items)]
    for user in range(users):
        for item in rng.sample(range(items), each):
            score = 3 + liking[item] + 0.7 * sum(a * b for a, b in zip(u[user], v[item])) / 2 + rng.gauss(0, 0.3)
            rows.append((user, item, min(5.0, max(1.0, score))))
    rng.shuffle(rows)
    return rows


def choices(users=200, items=120, each=20):
    rng = random.Random(3)
    u, v, rows = vectors(rng, users), vectors(rng, items), []
    for user in range(users):
        score = [sum(a * b for a, b in zip(u[user], v[item])) + rng.gauss(0, 0.5) for item in range(items)]
        rows += [(user, item) for item in sorted(range(items), key=lambda i: -score[i])[:each]]
    rng.shuffle(rows)
    return rows


def clothes(folder, wanted=(1, 8, 9), limit=3000):
    def read(name):
        path = next(p for p in (folder / name, folder / (name + ".gz")) if p.exists())
        return (gzip.open if path.suffix == ".gz" else open)(path, "rb").read()
    images, labels = read("train-images-idx3-ubyte")[16:], read("train-labels-idx1-ubyte")[8:]
    x, y = [], []
    for i, label in enumerate(labels):
        if label in wanted and len(y) < limit:
            at = i * 784
            y.append(wanted.index(label))
            x += [(images[at + r * 28 + c] + images[at + r * 28 + c + 1] + images[at + r * 28 + 28 + c] +
                   images[at + r * 28 + 29 + c]) / 510 - 1 for r in range(0, 28, 2) for c in range(0, 28, 2)]
    return x, y


def main():
    if not 2 <= len(sys.argv) <= 3 or sys.argv[1].startswith("-"):
        sys.exit(__doc__)
    out = pathlib.Path(sys.argv[1])
    out.mkdir(parents=True, exist_ok=True)
    write(out / "series.safetensors", split(series(), 1))
    write(out / "ratings.safetensors", split(ratings(), 2))
    write(out / "choices.safetensors", split(choices(), 2))
    fashion = pathlib.Path(sys.argv[2] if len(sys.argv) > 2 else "/usr/share/datasets/fashion-mnist")
    if not fashion.is_dir():
        sys.exit(f"make_data.py: {fashion}: no such folder: without Fashion-MNIST there are no clothes "
                 "(apt install dataset-fashion-mnist)")
    x, y = clothes(fashion)
    write(out / "clothes.safetensors", {"x": ("F32", [len(y), 14, 14], x)})
    write(out / "clothes-labelled.safetensors", {"x": ("F32", [len(y), 14, 14], x), "y": ("I64", [len(y)], y)})


if __name__ == "__main__":
    main()
