#!/bin/sh
# SPDX-License-Identifier: Apache-2.0
# What a task works on is said by names and by queries; what no runner would read, or could not work with, is refused now.
set -eu
. "$(dirname "$0")/support.sh"

mkdir data
python3 "$here/make_idx.py" data 120
expect 0 -- save-dataset tiny --idx data
cat >widths.yaml <<'YAML'
name: widths
dataset: tiny
parameters:
  hidden: [4, 8]
  epochs: 1
architecture: "dense:${hidden}:relu dense:4"
YAML
expect 0 -- create-task --sweep widths.yaml
expect 0 -- run-task --workers 1 --until-empty --quiet

# --- the sweep again: why nothing is new, and what to do
expect 0 'restart-task --sweep' '--name' -- create-task --sweep widths.yaml
said 'nothing new: 2 tasks'
expect 0 'priority' 'set-task' -- create-task --sweep widths.yaml --priority 3 -o json
json 'it["submitted"] == 0 and it["differs"] == "priority"'
echo 'log_every: 1' >>widths.yaml
expect 0 -- create-task --sweep widths.yaml -o json
json 'it["submitted"] == 2'
echo 'keep: best' >>widths.yaml
refuse 1 'widths.yaml:8' 'keep' 'validation' -- create-task --sweep widths.yaml
expect 0 -- delete-task --unfinished

# --- queries with operators and dotted paths
expect 0 -- create-task --kind test --dataset tiny --model '{"point.hidden": 8, "accuracy": {"$gte": 0}}' -o json
json 'it["name"] == "test of widths" and it["model"].startswith("{")'
expect 0 -- create-task --name trained --dataset '{"splits.train": {"$gt": 100}}' --architecture dense:4 --set epochs=1
expect 0 -- create-task --kind validate --split test --dataset '{"name": {"$regex": "^ti"}}' --model widths
expect 0 -- run-task --workers 1 --until-empty --quiet -o json
json 'it["done"] == 3 and it["failed"] == 0'
expect 0 -- find-model trained -o json
json 'it[0]["dataset"]["name"] == "tiny" and "splits.train" in it[0]["dataset"]["query"]'
refuse 1 'model' '$big' -- create-task --kind test --dataset tiny --model '{"accuracy": {"$big": 1}}'
refuse 3 'model' 'matches' -- create-task --kind test --dataset tiny --model '{"accuracy": {"$gt": 2}}'
cat >query.yaml <<'YAML'
kind: test
dataset: {"splits.test": {$gte: 1}}
model: {"point.hidden": {$in: [4, 8]}}
YAML
expect 0 -- create-task --sweep query.yaml
expect 0 -- run-task --workers 1 --until-empty --quiet
expect 0 -- find-task query -o json
json 'it[0]["state"] == "done"'
sed 's/gte: 1/gte: 1000/' query.yaml >bad.yaml
refuse 3 'bad.yaml:2' 'dataset' -- create-task --sweep bad.yaml
sed 's/in: \[4, 8\]/in: 4/' query.yaml >bad.yaml
refuse 1 'bad.yaml:3' 'model' '$in' -- create-task --sweep bad.yaml

# --- what would be passed over, or fail at the runner's
task() {
    refuse "$@" --dataset tiny
}
task 1 'split' 'train' -- create-task --architecture dense:4 --split test
task 1 'model' 'initial_model' -- create-task --architecture dense:4 --model widths
task 1 'architecture' -- create-task --kind test --model widths --architecture dense:4
task 1 'epochs' 'trains nothing' -- create-task --kind test --model widths --set epochs=3
task 1 'command' 'train, validate, test and infer' -- create-task --kind command --model widths
task 1 'save_dataset' 'infer' -- create-task --kind infer --model widths
task 1 'save_dataset' 'kind test' -- create-task --kind test --model widths --save-dataset out
task 1 'epochs' 'trains nothing' -- create-task --kind infer --model widths --save-dataset out --set epochs=3
task 1 'split' "'foo'" 'train, test' -- create-task --kind test --model widths --split foo
task 1 'validation' -- create-task --kind validate --model widths
task 1 'initial_model' 'dense_1.weight' '(8, 64)' -- create-task --architecture 'dense:6 dense:4' --initial-model widths
task 1 'initial_model' 'dense_3' -- create-task --architecture 'dense:8:relu dense:4 dense:4' --initial-model widths
expect 0 -- create-task --dataset tiny --architecture 'dense:8:tanh dense:4' --initial-model widths --set epochs=1
said 'train on tiny'
expect 0 -- run-task --workers 1 --until-empty --quiet

# --- refusals take no numbers
expect 0 -- create-task --dataset tiny --architecture dense:4 -o json
first=$(python3 -c 'import json; print(json.load(open(".out"))["seq"])')
task 1 'epochs' -- create-task --architecture dense:4 --set epochs=0
expect 0 -- create-task --dataset tiny --architecture dense:4 -o json
json "it['seq'] == $first + 1"
finish
