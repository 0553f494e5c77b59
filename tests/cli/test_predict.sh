#!/bin/sh
# SPDX-License-Identifier: Apache-2.0
# predict: the rows hold what the model's weights give, computed here again, in every format and from every kind of
# input; what is saved as a dataset has these predictions as labels; what is wrong is said in one line.
set -eu
. "$(dirname "$0")/support.sh"

mkdir data
python3 "$here/make_idx.py" data 300
expect 0 -- save-dataset tiny --idx data --set 'class_names=["top","upper","low, er","=bottom"]'
expect 0 -- create-task --name net --dataset tiny --architecture 'dense:8:relu dense:4' --set epochs=2 --set learning_rate=0.01
expect 0 -- create-task --name other --dataset tiny --architecture 'dense:4' --set epochs=1
expect 0 -- run-task --workers 1 --until-empty --quiet
expect 0 -- get-model net -o net.safetensors
images=data/t10k-images-idx3-ubyte
labels=data/t10k-labels-idx1-ubyte

# check FORMAT FILE [TOP]: the predictions in FILE are those of the weights in net.safetensors.
cat >check.py <<'PYTHON'
import csv
import json
import math
import struct
import sys

form, path, top = sys.argv[1], sys.argv[2], int((sys.argv + ["0"])[3])
with open("net.safetensors", "rb") as file:
    head = json.loads(file.read(struct.unpack("<Q", file.read(8))[0]))
    body = file.read()


def tensor(name):
    begin, end = head[name]["data_offsets"]
    values = struct.unpack(f"<{(end - begin) // 4}f", body[begin:end])
    width = head[name]["shape"][-1]
    return values if len(head[name]["shape"]) == 1 else [values[i:i + width] for i in range(0, len(values), width)]


def dense(x, name):
    return [sum(a * b for a, b in zip(x, row)) + c for row, c in zip(tensor(f"{name}.weight"), tensor(f"{name}.bias"))]


def softmax(z):
    e = [math.exp(v - max(z)) for v in z]
    return [v / sum(e) for v in e]


with open("data/t10k-images-idx3-ubyte", "rb") as file:
    pixels = file.read()[16:]
with open("data/t10k-labels-idx1-ubyte", "rb") as file:
    labels = file.read()[8:]
names = ["top", "upper", "low, er", "=bottom"]
with open(path, encoding="utf-8", newline="") as file:
    rows = json.load(file) if form == "json" else list(csv.DictReader(file))
assert len(rows) == len(labels) == 100, len(rows)
for i, row in enumerate(rows):
    x = [v / 255 for v in pixels[64 * i:64 * i + 64]]
    p = softmax(dense([max(v, 0) for v in dense(x, "dense_1")], "dense_2"))
    order = sorted(range(4), key=lambda k: -p[k])
    assert int(row["row"]) == i and int(row["label"]) == labels[i], row
    if form == "csv" and top:
        got = [(int(row[f"class_{k}"]), float(row[f"probability_{k}"])) for k in range(1, top + 1)]
        assert all(row[f"name_{k + 1}"].lstrip("'") == names[order[k]] for k in range(top)), row
    elif top:
        got = [(one["class"], one["probability"]) for one in row["top"]]
    else:
        got = [(order[0], float(row["probability"]))]
        every = row["probabilities"] if form == "json" else [float(row[f"p_{k}"]) for k in range(4)]
        assert all(abs(a - b) < 1e-5 for a, b in zip(every, p)), (every, p)
        assert int(row["class"]) == order[0] and row["name"].lstrip("'") == names[order[0]], row
    assert len(got) == max(top, 1) and all(c == order[k] and abs(v - p[c]) < 1e-5 for k, (c, v) in enumerate(got)), (got, p)
PYTHON
check() {
    python3 check.py "$@" || fail "predictions of $*"
}

for format in json csv; do
    for batch in 1 7 256; do
        expect 0 accuracy 'of 100' -- predict --model net --input tiny:test -o $format --batch-size $batch
        check $format .out
    done
    expect 0 -- predict --model net --input tiny:test -o $format --top 3 --device ref
    check $format .out 3
    expect 0 'accuracy' -- predict --model net --input $images --labels $labels -o $format --threads 2
    check $format .out
done
cp .err score
expect 0 "$(cat score)" -- predict --model net --input tiny:test --quiet
[ ! -s .out ] || fail "rows with --quiet: $(cat .out)"

# A table: a line a row and one above, as wide as the first whatever comes; names and not numbers.
expect 0 -- predict --model net --input tiny:test
[ "$(wc -l <.out)" -eq 101 ] || fail "lines of a table: $(wc -l <.out)"
[ "$(awk '{ print length($0) }' .out | sort -u | wc -l)" -eq 1 ] || fail "columns that move: $(head -n 3 .out)"
said 'row  label'
expect 0 -- predict --model net --input tiny:test --no-probabilities
[ "$(head -n 1 .out)" = 'row  label    class' ] || fail "$(head -n 1 .out)"

# Without labels nothing is said of how well it is.
gzip -k $images
expect 0 -- predict --model net --input $images.gz -o csv
[ ! -s .err ] || fail "said: $(cat .err)"
head -n 1 .out | grep -q '^row,class,name,probability,p_0' || fail "$(head -n 1 .out)"

# The model as get-model chooses one.
expect 0 -- predict --model 'name=net and accuracy>0' --input tiny:test --quiet
cmp -s .err score || fail 'another model by a condition'
expect 0 -- predict --model '{"name": "net"}' --input tiny:test --quiet
cmp -s .err score || fail 'another model by a query'
expect 0 -- predict --where name=net --sort accuracy:desc --input tiny:test --quiet
cmp -s .err score || fail 'another model by --where'

# Predictions as labels: the same rows, the same digest when it is done again, and a net learns from it.
expect 0 -- predict --model net --input tiny:test -o json --save-dataset pseudo --save-split train --tag mine
cp .out rows.json
expect 0 -- find-dataset pseudo -o json
json '(len(it) == 1 and it[0]["version"] == 1 and it[0]["splits"] == {"train": 100} and it[0]["classes"] == 4
      and it[0]["class_names"][3] == "=bottom" and it[0]["input_shape"] == [8, 8] and it[0]["features"]["dtype"] == "U8"
      and {"predicted", "model=net", "from=tiny:test", "mine"} <= set(it[0]["tags"])
      and it[0]["predicted_from"]["name"] == "tiny" and it[0]["predicted_by"]["name"] == "net")'
expect 0 -- find-dataset pseudo -o json
cp .out pseudo.json
expect 0 'accuracy 1.0000 (100 of 100)' -- predict --model net --input pseudo:train -o json
python3 -c 'import json; a, b = (json.load(open(f)) for f in ("rows.json", ".out"))
assert [r["class"] for r in a] == [r["label"] for r in b] and [r["probabilities"] for r in a] == [r["probabilities"] for r in b]' ||
    fail 'the rows or labels of the saved dataset differ'
expect 0 -- predict --model net --input tiny:test --save-dataset pseudo --save-split train --quiet
said 'nothing new: dataset pseudo version 1'
expect 0 -- predict --model other --input $images --save-dataset pseudo --quiet -o json
json 'it["version"] == 2 and it["splits"] == {"train": 100} and "model=other" in it["tags"]'
expect 0 -- create-task --name student --dataset pseudo --architecture dense:4 --set epochs=1
expect 0 -- run-task --workers 1 --until-empty --quiet

# The same by a task: its dataset has the rows and labels that predict saves.
expect 0 -- create-task --kind infer --model net --dataset tiny --save-dataset far --save-split train
expect 0 -- run-task --workers 1 --until-empty --quiet
expect 0 -- find-task --where kind=infer -o json
json 'it[0]["name"] == "infer of net" and it[0]["result"]["metrics"]["rows"] == 100 and it[0]["published"]'
cp .out task.json
expect 0 -- find-dataset far -o json
python3 -c 'import json; task, far, pseudo = (json.load(open(f))[0] for f in ("task.json", ".out", "pseudo.json"))
assert task["result"]["dataset_id"] == far["_id"] and far["task"] == task["_id"] and far["digest"] == pseudo["digest"]
assert far["predicted_by"] == pseudo["predicted_by"] and far["predicted_from"] == pseudo["predicted_from"]' ||
    fail 'the dataset of a task is another than that of predict'
expect 0 -- delete-dataset far --yes
expect 3 -- find-dataset far
expect 0 -- gc --lease 1s
expect 0 -- fsck --settle 0s

# What is wrong is said in one line.
refuse 2 '--input' -- predict --model net
refuse 2 'which model' -- predict --input tiny:test
refuse 3 "'nobody'" -- predict --model nobody --input tiny:test
refuse 3 'no models found' -- predict --model 'accuracy>2' --input tiny:test
refuse 2 'accuracy>' -- predict --model 'accuracy>' --input tiny:test
refuse 3 "'none'" -- predict --model net --input none:test
refuse 3 'no rows in the split "validation"' 'train, test' -- predict --model net --input tiny:validation
refuse 3 'no such file' -- predict --model net --input nofile
refuse 1 'label file' -- predict --model net --input $labels
refuse 1 '--labels' -- predict --model net --input $images --labels $images
refuse 2 '--labels' -- predict --model net --input tiny:test --labels $labels
refuse 2 '--device' -- predict --model net --input tiny:test --device gpu
refuse 2 '--batch-size' -- predict --model net --input tiny:test --batch-size 0
refuse 2 '--top' -- predict --model net --input tiny:test --top 0
refuse 2 '--save-split' -- predict --model net --input tiny:test --save-split x
python3 -c 'import struct; open("wide", "wb").write(struct.pack(">IIII", 0x803, 2, 9, 9) + bytes(162))'
refuse 1 '(8, 8)' '(9, 9)' 'model net' -- predict --model net --input wide
head -c 3000 $images >short
expect 1 short byte -- predict --model net --input short -o csv --save-dataset none
[ "$(wc -l <.err)" -eq 1 ] || fail "$(cat .err)"
expect 3 -- find-dataset none
(cat $images; printf x) >long
expect 1 long -- predict --model net --input long -o csv --save-dataset none
expect 3 -- find-dataset none
if "$tl_hub" predict --model net --input tiny:test -o csv >/dev/full 2>.err; then fail 'a full device'; fi
[ "$(wc -l <.err)" -eq 1 ] && grep -q 'standard output' .err || fail "$(cat .err)"
finish
