#!/bin/sh
# SPDX-License-Identifier: Apache-2.0
# Forecasts: a value for each row that has a window before it, as the training measured them; rows after the last from what
# was forecast before; in the units of the data; the same from a task of kind infer.
set -eu
. "$(dirname "$0")/support.sh"

# series.safetensors: (rows, 2) floats; more.safetensors: the same and one row on (given as arguments)
# bytes.safetensors: (rows, 1) bytes; labelled: the same with the class "it rises next"
cat >make.py <<'PYTHON'
import json
import math
import struct
import sys


def write(name, tensors):
    header, body = {}, b""
    for key, (dtype, shape, data) in tensors.items():
        header[key] = {"dtype": dtype, "shape": shape, "data_offsets": [len(body), len(body) + len(data)]}
        body += data
    text = json.dumps(header).encode()
    text += b" " * (-len(text) % 8)
    open(name, "wb").write(struct.pack("<Q", len(text)) + text + body)


def floats(rows):
    return "F32", [len(rows), 2], struct.pack(f"<{2 * len(rows)}f", *[v for row in rows for v in row])


rows = [(math.sin(t / 3), math.cos(t / 5) / 2) for t in range(360)]
last = [tuple(map(float, sys.argv[1:3]))] if len(sys.argv) > 2 else []
write("more.safetensors" if last else "series.safetensors", {"train.x": floats(rows[:300]), "test.x": floats(rows[300:] + last)})
write("short.safetensors", {"train.x": floats(rows[:5])})
wave = [round(127.5 + 110 * math.sin(t / 4)) for t in range(400)]
rises = [1 if math.cos(t / 4) > 0 else 0 for t in range(400)]
parts = {"train": slice(0, 320), "test": slice(320, 400)}
x = {f"{key}.x": ("U8", [len(wave[part]), 1], bytes(wave[part])) for key, part in parts.items()}
y = {f"{key}.y": ("I64", [len(rises[part])], struct.pack(f"<{len(rises[part])}q", *rises[part])) for key, part in parts.items()}
write("bytes.safetensors", x)
write("labelled.safetensors", {**x, **y})
PYTHON
python3 make.py
for name in series bytes labelled short; do
    expect 0 -- save-dataset $name --safetensors $name.safetensors
done
set -- --set recipe=forecast --set window=8 --set epochs=3 --set learning_rate=0.01
expect 0 -- create-task --name near --dataset series --architecture 'lstm:8 dense:2' "$@"
expect 0 -- create-task --name far --dataset series --architecture 'dense:8:tanh dense:2' --set horizon=3 "$@"
expect 0 -- create-task --name wave --dataset bytes --architecture 'dense:8:tanh dense:1' "$@"
expect 0 -- create-task --name rises --dataset labelled --architecture 'dense:8:tanh dense:2' --set horizon=2 "$@"
expect 0 -- run-task --until-empty --workers 1 --quiet

# As the training measured it, row by row: the first row that has a window before it is the ninth.
expect 0 'mean squared error' 'over 52 rows' -- predict --model near --input series:test -o json
cp .out near.json
json '[row["row"] for row in it] == list(range(8, 61))'
json 'all("targets" in row for row in it[:-1]) and "targets" not in it[-1]'
expect 0 -- find-model near -o json
cp .out model.json
python3 - <<'PYTHON' || fail 'predicted it is something else than measured'
import json
import math
rows, model = json.load(open("near.json"))[:-1], json.load(open("model.json"))[0]
error = sum((v - t) ** 2 for row in rows for v, t in zip(row["values"], row["targets"])) / len(rows) / 2
assert abs(math.sqrt(error) - model["metrics"]["test_rmse"]) < 1e-6, (math.sqrt(error), model["metrics"])
assert abs(rows[0]["targets"][0] - math.sin(308 / 3)) < 1e-6
PYTHON
expect 0 -- predict --model near --input series:test -o csv
[ "$(tail -n 1 .out | tr -d '\r' | cut -d , -f 1-3)" = '60,,' ] || fail "the last row: $(tail -n 1 .out)"
[ "$(wc -l <.out)" -eq 54 ] || fail "$(wc -l <.out) lines"
expect 0 -- predict --model near --input series:test

# Ahead: the second step is what a series that has the first one in it forecasts next; batches change nothing.
expect 0 -- predict --model near --input series:test --steps 4 --batch-size 7 -o json
cp .out ahead.json
json '[row["row"] for row in it] == list(range(8, 64))'
# shellcheck disable=SC2046 # two numbers
python3 make.py $(python3 -c 'import json; print(*json.load(open("ahead.json"))[52]["values"])')
expect 0 -- save-dataset more --safetensors more.safetensors
expect 0 -- predict --model near --input more:test -o json
python3 - <<'PYTHON' || fail 'the second step is not that of a series with the first one'
import json
first, ahead, more = (json.load(open(name)) for name in ("near.json", "ahead.json", ".out"))
assert [row["values"] for row in ahead[:53]] == [row["values"] for row in first], "batches change something"
assert more[-1]["row"] == 61 and ahead[53]["values"] == more[-1]["values"], (ahead[53], more[-1])
PYTHON
# With a horizon of three as many steps need no forecast before them, and are there without being asked for.
expect 0 'over 50 rows' -- predict --model far --input series:test -o json
cp .out far.json
json '[row["row"] for row in it] == list(range(10, 63))'
expect 0 -- predict --model far --input series:test --steps 5 -o json
python3 - <<'PYTHON' || fail 'more steps change the first ones'
import json
few, many = json.load(open("far.json")), json.load(open(".out"))
assert few == many[:len(few)] and len(many) == len(few) + 2
PYTHON

# Bytes: targets and forecasts are bytes again.
expect 0 -- predict --model wave --input bytes:test -o json
python3 - <<'PYTHON' || fail 'not in the units of the data'
import json
import math
rows = json.load(open(".out"))
assert [row["targets"][0] for row in rows[:-1]] == [round(127.5 + 110 * math.sin(t / 4)) for t in range(328, 400)]
assert sum(abs(row["values"][0] - row["targets"][0]) for row in rows[:-1]) / 72 < 60
PYTHON

# Labels: known for rows that there are; not to be gone on from.
expect 0 accuracy 'of 71' -- predict --model rises --input labelled:test -o json
json 'it[0]["row"] == 9 and it[-1]["row"] == 81 and "label" in it[-3] and "label" not in it[-2]'
expect 0 -- predict --model rises --input labelled:test -o csv
expect 0 -- predict --model rises --input labelled:test
refuse 1 'steps' 'horizon, 2' -- predict --model rises --input labelled:test --steps 3

# As a dataset: a series of forecasts, by predict and by a task of kind infer; labels with the rows that they are for.
expect 0 -- predict --model near --input series:test --steps 4 --save-dataset saved --quiet -o json
json 'it["label"] == "none" and it["rows"] == 56 and it["predicted_from"]["first_row"] == 8'
expect 0 -- create-task --kind infer --model near --dataset series --steps 4 --save-dataset inferred
expect 0 -- create-task --kind infer --model rises --dataset labelled --save-dataset labels
expect 0 -- run-task --until-empty --workers 1 --quiet
expect 0 -- find-dataset -o json
json 'next(d["digest"] for d in it if d["name"] == "saved") == next(d["digest"] for d in it if d["name"] == "inferred")'
json 'next(d["rows"] for d in it if d["name"] == "labels") == 71'
expect 0 -- predict --model rises --input labels:test --quiet
expect 0 'over 48 rows' -- predict --model near --input saved:test --quiet

expect 0 -- create-task --name plain --dataset labelled --architecture 'dense:2' --set epochs=1
expect 0 -- run-task --until-empty --workers 1 --quiet
refuse 1 'steps' 'only a forecast' -- predict --model plain --input labelled:test --steps 2
refuse 1 'window of 8' '5 rows' -- predict --model near --input short:train
refuse 1 '(8, 2)' '(8, 1)' -- predict --model near --input bytes:test
refuse 2 '--steps' -- predict --model near --input series:test --steps 0
refuse 1 'steps' -- create-task --kind test --model near --dataset series --steps 2
finish
