#!/bin/sh
# SPDX-License-Identifier: Apache-2.0
# The recipes' examples, end to end: data made by the script, sweeps submitted, trained by a runner, and what each is for
# shown by its figure of merit against the plain answer that it must beat.
set -eu
. "$(dirname "$0")/support.sh"
examples=$here/../../examples/recipes

python3 "$examples/make_data.py" data >/dev/null
for name in series ratings choices; do
    expect 0 -- save-dataset $name --safetensors data/$name.safetensors
done
expect 0 -- save-dataset clothes --safetensors data/clothes.safetensors --validation 0.2
expect 0 -- save-dataset clothes-labelled --safetensors data/clothes-labelled.safetensors --validation 0.2
sed 's/^name: gan/name: untrained/; s/learning_rate: .*/learning_rate: {value: 1e-30}/; s/epochs: .*/epochs: {value: 1}/' \
    "$examples/gan.yaml" >untrained.yaml
expect 0 -- create-task --sweep untrained.yaml
for name in forecast ratings choices autoencoder gan judge; do
    expect 0 -- create-task --sweep "$examples/$name.yaml"
done
code=0
timeout 400 "$tl_hub" run-task --until-empty --workers 2 --quiet >.out 2>.err || code=$?
[ "$code" -eq 0 ] || fail "run-task: exit code $code: $(cat .err)"

cat >plain.py <<'PYTHON'
import json
import math
import struct
import sys


def read(name):
    with open(f"data/{name}.safetensors", "rb") as file:
        head = json.loads(file.read(struct.unpack("<Q", file.read(8))[0]))
        body = file.read()
    return {key: struct.unpack(f"<{(t['data_offsets'][1] - t['data_offsets'][0]) // 4}f", body[slice(*t["data_offsets"])])
            for key, t in head.items()}


def rms(values):
    values = list(values)
    return math.sqrt(sum(v * v for v in values) / len(values))


series, ratings = read("series")["test.x"], read("ratings")
mean = sum(ratings["train.y"]) / len(ratings["train.y"])
pictures = read("clothes")["x"]
count = len(pictures) // 196
average = [sum(pictures[i::196]) / count for i in range(196)]
print(json.dumps({
    "last": rms(series[i] - series[i - 1] for i in range(16, len(series))),
    "mean": rms(y - mean for y in ratings["test.y"]),
    "picture": rms(pictures[i] - average[i % 196] for i in range(len(pictures))),
}))
PYTHON
python3 plain.py >plain.json

# best NAME SORT: the best model of a sweep, as JSON in .out
best() {
    expect 0 -- find-model --where "name=$1" --sort "$2" --limit 1 -o json
}
# beats EXPRESSION: of `it`, the best model, and `plain`, what the plain answers are worth
beats() {
    python3 - "$1" <<'PYTHON' || fail "not so: $1"
import json
import sys
it, plain = json.load(open(".out"))[0], json.load(open("plain.json"))
it = {**it, **it.get("metrics", {})}
print(sys.argv[1], "|", {k: it[k] for k in ("accuracy", "rmse", "test_rmse", "loss") if k in it}, plain, file=sys.stderr)
sys.exit(not eval(sys.argv[1]))
PYTHON
}
best forecast test_rmse:asc
beats 'it["test_rmse"] < 0.8 * plain["last"]'
best ratings test_rmse:asc
beats 'it["test_rmse"] < 0.7 * plain["mean"]'
best choices test_accuracy:desc
beats 'it["test_accuracy"] > 0.8'
best autoencoder rmse:asc
beats 'it["rmse"] < 0.6 * plain["picture"]'
best gan critic_accuracy:asc
beats '0.5 < it["critic_accuracy"] < 0.95 and "accuracy" not in it'

# What the generator makes is taken for clothes, of all three sorts, by a classifier that has seen real ones alone; what a
# generator makes that has learned nothing is not.
for name in gan untrained; do
    expect 0 -- sample --model $name --count 500 --save-dataset made-$name
    expect 0 -- predict --model judge --input made-$name:train -o json
    python3 "$examples/judge.py" <.out >judged-$name.json
done
python3 - <<'PYTHON' || fail 'what the gan makes is not taken for clothes'
import json
import math
import sys
made, noise = (json.load(open(f"judged-{name}.json")) for name in ("gan", "untrained"))
print(made, noise, file=sys.stderr)
assert made["top"] > 0.8 and noise["top"] < 0.6, "how sure the judge is"
assert made["each"] < 0.5 * noise["each"], "how sure it is of each"
assert made["together"] > 0.8 * math.log(3), "of all sorts"
assert made["score"] > 2 > 1.3 > noise["score"], "both together"
PYTHON

# The same rows whatever the batches and the count; as numbers, as a dataset, and as a picture with a tile each.
expect 0 -- sample --model gan --count 20 --seed 3 -o csv
cp .out numbers.csv
expect 0 -- sample --model gan --count 7 --seed 3 --batch-size 2 -o csv
head -n 8 numbers.csv | cmp -s - .out || fail 'fewer rows in other batches are other rows'
expect 0 -- sample --model gan --count 20 --seed 4 -o csv
cmp -s numbers.csv .out && fail 'another seed gives the same rows'
expect 0 'wrote grid.png (20 tiles)' -- sample --model gan --count 20 --seed 3 --columns 6 --png grid.png --save-dataset three \
    --save-split test --tag mine -o json
json 'it["splits"] == {"test": 20} and it["label"] == "none" and it["generated_by"]["seed"] == 3 and "mine" in it["tags"]'
expect 0 'nothing new' -- sample --model gan --count 20 --seed 3 --columns 6 --png - --save-dataset three --save-split test
cmp -s grid.png .out || fail 'the picture on standard output is another one'
python3 - <<'PYTHON' || fail 'the picture is not of the rows'
import csv
import struct
import zlib
data = open("grid.png", "rb").read()
assert data[:8] == b"\x89PNG\r\n\x1a\n"
at, packed = 8, b""
while at < len(data):
    length, kind = struct.unpack(">I4s", data[at:at + 8])
    if kind == b"IHDR":
        width, height, depth, colour = struct.unpack(">IIBB", data[at + 8:at + 18])
    packed += data[at + 8:at + 8 + length] if kind == b"IDAT" else b""
    at += 12 + length
assert (width, height, depth, colour) == (6 * 14 + 5 * 2, 4 * 14 + 3 * 2, 8, 0), (width, height, depth, colour)
raw, lines = zlib.decompress(packed), [bytearray(width)]
for y in range(height):  # the filters of PNG, for pixels of a byte
    kind, line = raw[y * (width + 1)], bytearray(raw[y * (width + 1) + 1:(y + 1) * (width + 1)])
    for x in range(width):
        left, up, corner = line[x - 1] if x else 0, lines[-1][x], lines[-1][x - 1] if x else 0
        near = min((abs(up - corner), 0, left), (abs(left - corner), 1, up), (abs(left + up - 2 * corner), 2, corner))[2]
        line[x] = (line[x] + (0, left, up, (left + up) // 2, near)[kind]) % 256
    lines.append(line)
rows = [[float(v) for v in row[1:]] for row in list(csv.reader(open("numbers.csv")))[1:]]
low, high = min(map(min, rows)), max(map(max, rows))
for i, row in enumerate(rows):
    for k, value in enumerate(row):
        shade = lines[1 + i // 6 * 16 + k // 14][i % 6 * 16 + k % 14]
        assert abs(shade - 255 * (value - low) / (high - low)) < 0.51, (i, k, value, shade)
assert lines[1][14] == lines[15][0] == lines[-1][-1] == 255
PYTHON
refuse 1 'grid.png' '--force' -- sample --model gan --png grid.png
refuse 1 'only a gan' -- sample --model judge
refuse 1 'sample' -- predict --model gan --input clothes:train
refuse 2 '--count' -- sample --model gan --count 0
refuse 2 '--png' -- sample --model gan --columns 3
refuse 1 'pixels' '--count' -- sample --model gan --count 100000 --png large.png
[ ! -e large.png ] || fail 'a picture that was refused is there'

# Measured again as a task of its own, the same to the last digit; and predicted row by row.
expect 0 -- find-model --where name=choices --sort test_accuracy:desc --limit 1 -o json
cp .out chosen.json
id=$(python3 -c 'import json; print(json.load(open("chosen.json"))[0]["_id"])')
expect 0 -- create-task --kind test --model "$id" --dataset choices --name again
expect 0 -- create-task --kind test --model forecast --dataset series --name seen
expect 0 -- run-task --until-empty --workers 1 --quiet
expect 0 -- find-task --where name=again -o json
python3 - <<'PYTHON' || fail 'measured again it is something else'
import json
task, model = json.load(open(".out"))[0], json.load(open("chosen.json"))[0]
model = {**model, **model.get("metrics", {})}
assert abs(task["result"]["metrics"]["accuracy"] - model["test_accuracy"]) < 1e-12, (task["result"], model)
PYTHON
expect 0 -- predict --model ratings --input ratings:test -o csv
[ "$(wc -l <.out)" -eq 1201 ] || fail "rows of predictions: $(wc -l <.out)"

# What does not suit a recipe is refused when it is submitted.
refuse 1 window -- create-task --dataset series --architecture 'lstm:4 dense:1' --set recipe=forecast
refuse 1 'no labels' -- create-task --dataset series --architecture 'dense:1'
refuse 1 recipe -- create-task --dataset series --architecture 'dense:1' --set recipe=oracle
refuse 1 'only recipe forecast' -- create-task --dataset ratings --architecture 'dense:1' --set window=3
refuse 1 'recipe recommender' -- create-task --dataset choices --architecture 'dense:1' --set loss=bpr
refuse 1 'noise' -- create-task --dataset clothes --architecture 'dense:196' --set recipe=gan
finish
