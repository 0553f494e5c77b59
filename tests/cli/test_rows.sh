#!/bin/sh
# SPDX-License-Identifier: Apache-2.0
# Rows as they are typed: pushed, selected, trained on, cached; a snapshot at the claim; gone with their dataset.
set -eu
. "$(dirname "$0")/support.sh"

export TL_HUB_CACHE_DIR=$work/cache
export TL_HUB_URI=sqlite:$work/hub.db
python3 - <<'PYTHON'
import json
import random

random.seed(1)
for name, count in (("first", 2000), ("more", 500)):
    with open(name + ".jsonl", "w") as file:
        for i in range(count):
            a, b = random.random(), random.random()
            split = "validation" if i % 5 == 0 else "train"
            file.write(json.dumps({"a": a, "b": b, "kind": "hi" if a + b > 1 else "lo", "split": split}) + "\n")
PYTHON
net='dense:8:relu dense:2'

# --- pushed, and what came of it
expect 0 -- push-rows points --jsonl first.jsonl --columns a,b --label kind -o json
json 'it["rows"] == 2000 and it["version"] == 1'
expect 0 -- find-dataset points -o json
json 'it[0]["input_shape"] == [2] and it[0]["class_names"] == ["hi", "lo"] and it[0]["storage"] == "rows"'
expect 0 -- create-task --name all --dataset points --architecture "$net" --set epochs=2
expect 0 -- create-task --name half --dataset points --pipeline '[{"$match": {"a": {"$gt": 0.5}}}]' --architecture "$net" --set epochs=2
expect 0 -- run-task --workers 2 --until-empty
expect 0 -- find-model --sort name -o json
json '[m["dataset"]["rows_upto"] for m in it] == [2000, 2000] and it[0]["dataset"]["digest"] != it[1]["dataset"]["digest"]'
json '"$gt" in it[1]["dataset"]["pipeline"] and "pipeline" not in it[0]["dataset"]'
expect 0 -- find-task all -o json
json 'it[0]["result"]["data"]["rows_upto"] == 2000'

# --- new rows are the next task's, and a new digest; the same selection again is read from the cache
files=$(ls cache | wc -l)
expect 0 -- create-task --name again --dataset points --architecture "$net" --set epochs=2
expect 0 -- run-task --workers 1 --until-empty
[ "$(ls cache | wc -l)" -eq "$files" ] || fail 'the same selection made new files'
expect 0 -- push-rows points --jsonl more.jsonl
expect 0 -- create-task --name grown --dataset points --architecture "$net" --set epochs=2
expect 0 -- run-task --workers 1 --until-empty
expect 0 -- find-model -o json
json 'len({m["dataset"]["digest"] for m in it}) == 3'
json '{m["name"]: m["dataset"]["rows_upto"] for m in it} == {"all": 2000, "half": 2000, "again": 2000, "grown": 2500}'
json '{m["accuracy"] for m in it if m["name"] == "all"} == {m["accuracy"] for m in it if m["name"] == "again"}'

# --- predicted, from the rows that there are now
expect 0 'accuracy' -- predict --model grown --input points:validation -o json
json 'len(it) == 500'
expect 0 -- predict --model grown --input points:validation --pipeline '[{"$match": {"a": {"$gt": 0.5}}}]' -o json
json '0 < len(it) < 400'
refuse 3 'it has validation, train' -- predict --model grown --input points:nothing
expect 0 -- create-task --kind infer --name inferred --model grown --dataset points --split validation --save-dataset seen
expect 0 -- run-task --workers 1 --until-empty --quiet
expect 0 -- find-dataset seen -o json
json 'it[0]["splits"] == {"validation": 500}'
expect 0 -- predict --model grown --input seen:validation -o json
refuse 2 'push-rows' -- predict --model grown --input seen:validation --pipeline '[]'

# --- the cache is only a cache: damaged files are made again, a small one is refused
for file in cache/*.split; do
    printf x | dd of="$file" bs=1 seek=4100 conv=notrunc 2>/dev/null
done
expect 0 -- create-task --name healed --dataset points --architecture "$net" --set epochs=2
expect 0 -- run-task --workers 1 --until-empty
expect 0 -- find-task healed -o json
json 'it[0]["state"] == "done"'
expect 0 -- find-model -o json
json '{m["accuracy"] for m in it if m["name"] == "healed"} == {m["accuracy"] for m in it if m["name"] == "grown"}'

# --- a standing task trains again from the last model when rows have come, once, and --until-empty does not wait for it
expect 0 -- create-task --name standing --dataset points --architecture "$net" --set epochs=1 --when-rows 400
expect 0 -- status
said 'standing: #'
said 'when 400 new rows, started 0'
"$tl_hub" run-task --workers 1 2>run.log &
runner=$!
for count in 1 2; do
    tries=0
    until [ "$("$tl_hub" find-task -o json | grep -c '"standing_of".*"state": "done"\|"state": "done".*"standing_of"')" -ge "$count" ] || [ "$tries" -gt 200 ]; do
        tries=$((tries + 1))
        sleep 0.2
    done
    expect 0 -- push-rows points --jsonl more.jsonl
done
expect 0 -- cancel-task standing --yes
kill "$runner"
wait "$runner" || true
expect 0 -- find-task -o json
json 'sorted(t["standing_number"] for t in it if "standing_of" in t)[:2] == [1, 2]'
json 'all(("initial_model" in t) == (t["standing_number"] > 1) for t in it if "standing_of" in t)'

# --- what is wrong is said with its line, and nothing is written
printf '{"a": 1, "b": 2, "kind": "hi"}\n{"a": 1, "b": "x", "kind": "hi"}\n' >bad.jsonl
refuse 1 'bad.jsonl:2' 'b: neither a number' -- push-rows points --jsonl bad.jsonl
printf '{"a": 1, "b": 2, "kind": "odd"}\n' >bad.jsonl
refuse 1 'bad.jsonl:1' "none of the dataset's classes" -- push-rows points --jsonl bad.jsonl
printf '\n{bad\n' >bad.jsonl
refuse 1 'bad.jsonl:2' -- push-rows points --jsonl bad.jsonl
refuse 2 '$lookup' -- push-rows points --jsonl more.jsonl --pipeline '[{"$lookup": {}}]'
refuse 2 '$lookup' -- create-task --dataset points --pipeline '[{"$lookup": {}}]' --architecture "$net"
refuse 3 'none.jsonl' -- push-rows points --jsonl none.jsonl
expect 0 -- fsck -o json

# --- export, import, delete
expect 0 -- export all.tlhub
expect 0 -- import all.tlhub --hub "sqlite:$work/copy.db"
said 'equal'
expect 0 -- push-rows points --jsonl more.jsonl --hub "sqlite:$work/copy.db"
expect 0 -- create-task --name copied --dataset points --architecture "$net" --set epochs=1 --hub "sqlite:$work/copy.db"
expect 0 -- run-task --until-empty --hub "sqlite:$work/copy.db"
expect 0 -- find-model copied -o json --hub "sqlite:$work/copy.db"
json 'it[0]["dataset"]["rows_upto"] == 4000'
expect 0 -- delete-dataset points --yes
expect 0 '0 errors, 0 warnings' -- fsck
finish
