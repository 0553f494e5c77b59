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
for name in forecast ratings choices autoencoder gan; do
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
best gan accuracy:asc
beats '0.5 < it["accuracy"] < 0.95'

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
refuse 1 forecast -- predict --model forecast --input series:test
finish
