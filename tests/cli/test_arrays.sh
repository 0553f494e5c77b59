#!/bin/sh
# SPDX-License-Identifier: Apache-2.0
# save-dataset --npy and --images, and find-dataset --describe.
set -eu
. "$(dirname "$0")/support.sh"

python3 "$here/make_npy.py" arrays
expect 0 -- save-dataset packed --npy arrays/packed.npz -o json
json 'it["splits"] == {"train": 6, "test": 2} and it["input_shape"] == [2] and it["classes"] == 3'
digest=$(python3 -c 'import json; print(json.load(open(".out"))["digest"])')
expect 0 -- save-dataset stored --npy arrays/stored.npz -o json
json "it['digest'] == '$digest'"
expect 0 -- save-dataset one --npy arrays/x.npy --labels arrays/y.npy --split 100/0 -o json
one=$(python3 -c 'import json; print(json.load(open(".out"))["digest"])')
expect 0 -- save-dataset other --npy arrays/big_endian.npy --labels arrays/y.npy --split 100/0 -o json
json "it['digest'] == '$one'"
expect 0 -- save-dataset values --npy arrays/pictures.npy --labels arrays/values.npy --split 50/50 --validation 1 -o json
json 'it["features"]["dtype"] == "U8" and it["outputs"] == 2 and it["splits"] == {"train": 2, "validation": 1, "test": 3}'
refuse 1 'Fortran order' -- save-dataset bad --npy arrays/fortran.npy
refuse 1 'nan.npy: row 3: NaN' -- save-dataset bad --npy arrays/nan.npy
refuse 1 'short.npy: byte 168: it ends too early' -- save-dataset bad --npy arrays/short.npy
refuse 1 'object.npy: elements of type' -- save-dataset bad --npy arrays/object.npy
refuse 1 'y.npy: 6 rows of 1 dimensions, for 2 rows' -- save-dataset bad --npy arrays/two.npy --labels arrays/y.npy
refuse 3 'nowhere.npy' -- save-dataset bad --npy nowhere.npy
refuse 2 '--labels goes with --npy' -- save-dataset bad --images . --labels arrays/y.npy

# A grey picture of 4 by 3 pixels is what its bytes are; one in colour is three planes.
python3 - <<'PYTHON'
import os
import struct
import zlib


def chunk(kind, data):
    return struct.pack(">I", len(data)) + kind + data + struct.pack(">I", zlib.crc32(kind + data))


def png(path, width, height, color, pixels):
    os.makedirs(os.path.dirname(path), exist_ok=True)
    step = width * (3 if color else 1)
    rows = b"".join(b"\0" + bytes(pixels[i * step:(i + 1) * step]) for i in range(height))
    with open(path, "wb") as file:
        file.write(b"\x89PNG\r\n\x1a\n" + chunk(b"IHDR", struct.pack(">IIBBBBB", width, height, 8, 2 if color else 0, 0, 0, 0)))
        file.write(chunk(b"IDAT", zlib.compress(rows)) + chunk(b"IEND", b""))


for i in range(6):
    png(f"grey/{'dark' if i % 2 else 'light'}/{i}.png", 4, 3, False, [(i * 12 + j) * 3 for j in range(12)])
    png(f"colour/{'test' if i > 3 else 'train'}/{'ab'[i % 2]}/{i}.png", 2, 2, True, [i * 12 + j for j in range(12)])
png("mixed/a/1.png", 4, 3, False, range(12))
png("mixed/a/2.png", 3, 4, False, range(12))
png("broken/a/1.png", 4, 3, False, range(12))
with open("broken/a/1.png", "r+b") as file:
    file.truncate(40)
PYTHON
expect 0 -- save-dataset grey --images grey --split 100/0 -o json
json 'it["input_shape"] == [3, 4] and it["class_names"] == ["dark", "light"] and it["splits"] == {"train": 6}'
expect 0 -- save-dataset colour --images colour -o json
json 'it["input_shape"] == [3, 2, 2] and it["splits"] == {"train": 4, "test": 2}'
refuse 1 'mixed/a/2.png: 3 by 4 pixels, where the first picture has 4 by 3' -- save-dataset bad --images mixed
refuse 1 'broken/a/1.png' -- save-dataset bad --images broken
refuse 1 'grey/dark: 0 folders' -- save-dataset bad --images grey/dark
expect 3 -- find-dataset bad

# What is in them.
expect 0 -- find-dataset grey --describe -o json
json 'it[0]["class_counts"] == {"train": [3, 3]} and it[0]["rows"] == 6'
printf 'a,b,y\n1,red,x\n,blue,y\n5,red,x\n' >table.csv
expect 0 -- save-dataset table --csv table.csv --label y --split 100/0
expect 0 -- find-dataset table --describe
said 'table version 1: 3 rows (train 3), x 3, y one of 2 classes'
said '2: blue, red'
expect 0 -- find-dataset table --describe -o json
json 'it[0]["columns"][0]["missing"] == 1 and it[0]["columns"][0]["max"] == 5 and it[0]["class_counts"]["train"] == [2, 1]'
finish
