#!/bin/sh
# SPDX-License-Identifier: Apache-2.0
# What a task needs is estimated when it is submitted, a runner takes what fits it, and status says of the others that no
# living runner takes them.
set -eu
. "$(dirname "$0")/support.sh"

mkdir data
python3 "$here/make_idx.py" data 120
expect 0 -- save-dataset tiny --idx data
expect 0 -- create-task --name small --dataset tiny --architecture 'dense:8:relu dense:4' --set epochs=1 -o json
json 'it["resource_class"] == "cpu" and 64e6 < it["needs"]["memory"] < 80e6 and it["needs"]["flops"] > 100000'
expect 0 -- create-task --name large --dataset tiny --architecture 'dense:60000:relu dense:4000:relu dense:4' --set epochs=1 -o json
json 'it["resource_class"] == "cpu+mem6g" and 4 * 244e6 * 4 < it["needs"]["memory"] < 6 * 2**30'
expect 0 -- create-task --name sgd --dataset tiny --architecture 'dense:60000:relu dense:4000:relu dense:4' \
    --set epochs=1 --set optimizer=sgd -o json
json 'it["resource_class"] == "cpu+mem4g"'
expect 0 -- create-task --name said --dataset tiny --architecture 'dense:4' --set epochs=1 --memory 1.5G -o json
json 'it["resource_class"] == "cpu+mem2g" and it["needs"] == {"memory": 1610612736}'
for size in '' x 0 -1 6Q 6GG; do
    expect 2 '--memory' -- create-task --name bad --dataset tiny --architecture 'dense:4' --memory "$size"
    expect 2 '--memory' -- run-task --until-empty --memory "$size"
done

# One of 2 GiB does what fits, and leaves the rest to others.
expect 0 -- run-task --workers 1 --memory 2048MiB --until-empty --quiet
expect 0 -- find-task --state done -o json
json 'sorted(t["name"] for t in it) == ["said", "small"]'
"$tl_hub" run-task --workers 1 --memory 2G --quiet >/dev/null 2>&1 &
runner=$!
waited=0
while [ "$("$tl_hub" status -o json | grep -c '"unserved": \[\]')" -ne 0 ] && [ $waited -lt 100 ]; do
    sleep 0.1
    waited=$((waited + 1))
done
expect 0 -- status -o json
json 'sorted([g["resource_class"], g["memory_needed"], g["memory_offered"]] for g in it["unserved"]) == [
    ["cpu+mem4g", 4 * 2**30, 2 * 2**30], ["cpu+mem6g", 6 * 2**30, 2 * 2**30]]'
expect 0 -- status
said 'need cpu+mem6g: no living runner takes them (up to 6 GiB of memory; the most that one gives a task: 2 GiB)'
expect 0 'ready tasks that need cpu+mem6g: no living runner takes them' -- find-task large
expect 0 -- find-task small
[ ! -s .err ] || fail "said of a task that is done: $(cat .err)"
kill -TERM $runner
wait $runner || true

# Restarted with other hyper-parameters a task is another one: what it needs and its class follow, unless somebody said them.
expect 0 -- cancel-task --all --yes
expect 0 -- create-task --name wide --dataset tiny --architecture 'dense:2000:relu dense:4' --set epochs=1 --queue later -o json
json 'it["resource_class"] == "cpu"'
expect 0 -- create-task --name labels --dataset tiny --architecture 'dense:2000:relu dense:4' --requires gpu --queue later
expect 0 -- create-task --name said --dataset tiny --architecture 'dense:2000:relu dense:4' --memory 3G --queue later
expect 0 -- create-task --name gives --dataset tiny --architecture 'dense:60000:relu dense:4000:relu dense:4' --queue later
expect 0 -- set-task gives --resource-class cpu
expect 0 -- cancel-task --where queue=later
expect 0 -- restart-task --where queue=later --set batch_size=300000
expect 0 -- find-task --where 'queue=later' -o json
cp .out big.json
json '{t["name"]: t["resource_class"] for t in it} == {
    "wide": "cpu+mem6g", "labels": "cpu+gpu+mem6g", "said": "cpu+mem3g", "gives": "cpu"}'
json 'all(t["hyper_parameters"]["batch_size"] == 300000 and t["run"] == 2 and t["state"] == "ready" for t in it)'
json '[t["needs"] for t in it if t["name"] == "said"] == [{"memory": 3 << 30}]'
expect 0 -- cancel-task --where queue=later
expect 0 -- restart-task wide --set batch_size=32
expect 0 -- find-task wide -o json
json 'it[0]["resource_class"] == "cpu" and it[0]["needs"]["memory"] < 2**29'
expect 0 -- cancel-task wide
refuse 2 'wide' 'batch_size' -- restart-task wide --set batch_size=0
refuse 2 'wide' 'window' -- restart-task wide --set window=3
refuse 2 'wide' 'momentum' -- restart-task wide --set momentum=0.9
expect 0 -- restart-task wide --set optimizer=sgd --set momentum=0.9
expect 0 -- cancel-task wide

# A gan's batch and one of pairs are twice as large as they are said to be.
gan='{"inputs": [{"name": "noise", "shape": [4]}, {"name": "real"}], "layers": [{"type": "dense", "units": 64, "inputs": ["noise"]},
    {"name": "made", "type": "reshape", "shape": [8, 8]}, {"name": "mix", "type": "mix", "inputs": ["made", "real"]},
    {"type": "dense", "units": 4000}, {"type": "dense", "units": 1}], "outputs": ["made", "dense_3"]}'
expect 0 -- create-task --name gan --dataset tiny --set recipe=gan --architecture "$gan" --set batch_size=20000 --queue later -o json
json '2 * 20000 * 2 * 4000 * 4 < it["needs"]["memory"] and it["resource_class"] == "cpu+mem2g"'
python3 - <<'PYTHON'
import json
import struct
data = struct.pack("<200f", *[v for i in range(100) for v in (i % 10, i % 7)])
text = json.dumps({"x": {"dtype": "F32", "shape": [100, 2], "data_offsets": [0, 800]}}).encode()
open("pairs.safetensors", "wb").write(struct.pack("<Q", len(text)) + text + data)
PYTHON
expect 0 -- save-dataset pairs --safetensors pairs.safetensors
embeddings='{"inputs": [{"name": "user", "shape": [1]}, {"name": "item", "shape": [1]}], "layers": [
    {"name": "u", "type": "embedding", "inputs": ["user"], "rows": 10, "dimension": 100},
    {"name": "i", "type": "embedding", "inputs": ["item"], "rows": 10, "dimension": 100},
    {"name": "match", "type": "dot", "inputs": ["u", "i"]}]}'
expect 0 -- create-task --name bpr --dataset pairs --architecture "$embeddings" --set recipe=recommender --set loss=bpr \
    --set batch_size=400000 --queue later -o json
json '2 * 400000 * 2 * 200 * 4 < it["needs"]["memory"]'
refuse 1 'batch_size' '500000' -- create-task --name bpr --dataset pairs --architecture "$embeddings" --set recipe=recommender \
    --set loss=bpr --set batch_size=500001

# Tasks that work with a model: of several inputs, and of a forecast, for which infer holds the series.
expect 0 -- create-task --name match --dataset pairs --architecture "$embeddings" --set recipe=recommender --set loss=bpr --set epochs=1
expect 0 -- create-task --name next --dataset pairs --architecture 'dense:2' --set recipe=forecast --set window=4 --set epochs=1
expect 0 -- run-task --workers 1 --until-empty --quiet
expect 0 -- create-task --kind test --split train --model match --dataset pairs --set batch_size=400000 -o json
json '2 * 400000 * 200 * 4 < it["needs"]["memory"]'
expect 0 -- create-task --kind infer --split train --model match --dataset pairs --save-dataset out --set batch_size=400000 -o json
json '400000 * 200 * 4 < it["needs"]["memory"] < 2 * 400000 * 200 * 4'
expect 0 -- create-task --kind infer --split train --model next --dataset pairs --save-dataset out --queue later -o json
json '0 < it["needs"]["memory"] < 80e6 and it["needs"]["flops"] > 0'
finish
