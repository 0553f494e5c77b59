#!/bin/sh
# SPDX-License-Identifier: Apache-2.0
# What is kept of a sweep's weights: the parameters of epochs (keep: every N epochs), and of the best models alone
# (keep_weights: best N), whose others still say what they came to and how to have their weights again.
set -eu
. "$(dirname "$0")/support.sh"

mkdir data
python3 "$here/make_idx.py" data
expect 0 -- save-dataset tiny --idx data --validation 0.1

cat >epochs.yaml <<'YAML'
parameters:
  epochs: {value: 5}
  batch_size: {value: 64}
keep: every 2 epochs
architecture: "dense:8:relu dense:4"
YAML
cat >best.yaml <<'YAML'
method: grid
metric: {name: validation_loss, goal: minimize}
parameters:
  learning_rate: {values: [0.000001, 0.01, 0.00001, 0.02, 0.0001]}
  epochs: {value: 4}
  batch_size: {value: 64}
keep: every 2 epochs
keep_weights: best 2
architecture: "dense:8:relu dense:4"
YAML
expect 0 -- create-task --sweep epochs.yaml --dataset tiny --name epochs
expect 0 -- create-task --sweep best.yaml --dataset tiny --name best
sed 's/every 2 epochs/every two epochs/' epochs.yaml >bad.yaml
refuse 1 "bad.yaml:4: keep must be last, best or every N epochs" -- create-task --sweep bad.yaml --dataset tiny
sed 's/best 2/2/' best.yaml >bad.yaml
refuse 1 "bad.yaml:8: keep_weights must be best N" -- create-task --sweep bad.yaml --dataset tiny
sed '/^metric/d' best.yaml >bad.yaml
refuse 1 "bad.yaml:7: keep_weights needs a metric" -- create-task --sweep bad.yaml --dataset tiny
expect 0 -- run-task --until-empty --quiet

# Epochs: found by who asks for them.
expect 0 -- find-model --where name=epochs -o json
json "len(it) == 1 and it[0]['epoch'] == 5 and 'final' not in it[0]"
expect 0 -- find-model --where name=epochs --epochs -o json
json "[m['epoch'] for m in it] == [2, 4, 5] and [m.get('final') for m in it] == [False, False, None]"
expect 0 -- find-model --where 'name=epochs and epoch=4' -o json
json "len(it) == 1 and it[0]['epochs'] == 4 and it[0]['blob_id']"
expect 0 -- get-model --where 'name=epochs and epoch=2' -o second.safetensors
[ -s second.safetensors ] || fail "no weights of epoch 2"
expect 0 -- predict --model '{"name": "epochs", "epoch": 2}' --input tiny:test

# The best two of five have weights; the others' results stay.
expect 0 -- find-model --where name=best --sort objective -o json
json "len(it) == 5 and [bool(m.get('blob_id')) for m in it] == [True, True, False, False, False]"
json "all(m['weights_dropped'] == 'keep_weights: best 2 of its sweep' and m['sha256'] for m in it[2:])"
expect 0 -- find-model --where 'name=best and epoch=2' --sort task_seq -o json
json "[bool(m.get('blob_id')) for m in it] == [False, True, False, True, False]"
expect 0 -- gc --lease 1s
expect 0 -- fsck
expect 0 -- find-model --where 'name=best and weights_dropped~keep' --sort objective:desc --limit 1 -o json
worst=$(python3 -c 'import json; print(json.load(open(".out"))[0]["_id"])')
digest=$(python3 -c 'import json; print(json.load(open(".out"))[0]["sha256"])')
number=$(python3 -c 'import json; print(json.load(open(".out"))[0]["task_seq"])')
dropped="weights were dropped (keep_weights: best 2 of its sweep); tl_hub restart-task '#$number'"
expect 3 "$dropped" -- get-model "$worst"
expect 1 "$dropped" -- predict --model "$worst" --input tiny:test
expect 1 "$dropped" -- create-task --kind test --dataset tiny --model "$worst"
expect 1 "$dropped" -- create-task --dataset tiny --architecture 'dense:8:relu dense:4' --initial-model "$worst"
expect 0 -- export all.tlh
expect 0 -- init --hub sqlite:copy.db
expect 0 -- import --hub sqlite:copy.db all.tlh
expect 0 -- fsck --hub sqlite:copy.db
expect 0 -- find-model --hub sqlite:copy.db --where name=best -o json
json "sum('weights_dropped' in m for m in it) == 3"

# Who wants them again has them: the same bits, and nobody takes those.
expect 0 -- restart-task "#$number" --yes
expect 0 -- run-task --until-empty --quiet
expect 0 -- find-model --where "task_seq=$number and run=2" -o json
json "len(it) == 1 and it[0]['sha256'] == '$digest' and it[0]['blob_id']"

# By --all those of epochs go, too; a condition that names none leaves them.
expect 0 -- delete-model --where name=epochs --yes
expect 0 -- find-model --epochs --where name=epochs -o json
json "[m['epoch'] for m in it] == [2, 4]"
expect 2 -- delete-model --all
expect 0 -- delete-model --all --yes
expect 3 -- find-model --epochs
finish
