#!/bin/sh
# SPDX-License-Identifier: Apache-2.0
# Searches that go on from their results while runners run: no server, any number of runners, the same points.
set -eu
. "$(dirname "$0")/support.sh"

mkdir data
python3 "$here/make_idx.py" data 120
expect 0 -- save-dataset tiny --idx data

# search NAME METHOD
search() {
    cat >"$1.yaml" <<YAML
name: $1
method: $2
dataset: tiny
metric: {name: loss, goal: minimize}
run_cap: 18
parallel: 4
seed: 3
parameters:
  layers: {min: 0, max: 2}
  width: {min: 4, max: 32, repeat: 2}
  learning_rate: {distribution: log_uniform_values, min: 0.0001, max: 0.3}
  epochs: 1
architecture: "\${layers} * [dense:\${width.#}:relu] dense:4"
YAML
}
points() {
    "$tl_hub" find-task --name "$1" --sort point_number --limit 100 -o json >"$1.json"
    python3 - "$1.json" <<'PY'
import json, sys
tasks = json.load(open(sys.argv[1]))
assert [t["point_number"] for t in tasks] == list(range(len(tasks))), [t["point_number"] for t in tasks]
for task in tasks:
    print(json.dumps(task["point"]), task["architecture"])
PY
}
for method in tpe cma_es evolution; do
    search "one-$method" "$method"
    search "four-$method" "$method"
    expect 0 -- create-task --sweep "one-$method.yaml"
    expect 0 -- run-task --workers 1 --until-empty --quiet
    expect 0 -- create-task --sweep "four-$method.yaml"
    expect 0 -- run-task --workers 4 --until-empty --quiet
    points "one-$method" >one.txt
    points "four-$method" >four.txt
    [ "$(wc -l <one.txt)" -eq 18 ] || fail "$method: $(wc -l <one.txt) points, not 18"
    cmp one.txt four.txt || fail "$method: four workers had other points than one"
done
grep -q '} dense:[0-9]*:relu dense:[0-9]*:relu dense:4$' one.txt || fail "no net of two layers"

# Rungs: points are parked and promoted, on any worker; in the end each has a reason.
cat >asha.yaml <<'YAML'
name: asha
method: random
dataset: tiny
metric: {name: loss, goal: minimize}
early_terminate: {type: asha, min_iter: 1, eta: 3}
run_cap: 12
seed: 3
parameters:
  learning_rate: {distribution: log_uniform_values, min: 0.0001, max: 0.3}
  epochs: 6
architecture: "dense:4"
YAML
expect 0 -- create-task --sweep asha.yaml
expect 0 -- run-task --workers 1 --max-tasks 1 --quiet
expect 0 -- find-task --sweep asha --where 'state=parked' -o json
json 'len(it) == 1 and it[0]["rungs"]["count"] == 1 and it[0]["checkpoint"]["epoch"] == 2'
expect 0 -- status -o json
json 'it["tasks"]["parked"] == 1'
expect 0 -- gc
expect 0 -- fsck
expect 0 -- export kept.tar
expect 0 -- init --hub sqlite:other.db
expect 0 -- import kept.tar --hub sqlite:other.db
expect 0 -- run-task --hub sqlite:other.db --workers 1 --until-empty --quiet
expect 0 -- run-task --workers 3 --until-empty --quiet
expect 0 -- wait --sweep asha --timeout 5s
for hub in tl_hub other; do
    expect 0 -- find-task --hub sqlite:$hub.db --sweep asha -o json
    json 'len(it) == 12 and {t["state"] for t in it} == {"done", "stopped"}'
    json 'all("not among the best" in t["result"]["reason"] for t in it if t["state"] == "stopped")'
    json 'any(t["state"] == "done" and t["claims"] == 3 for t in it)'
done
expect 0 -- gc
expect 0 -- fsck
expect 0 -- report asha

# A population: generations go on from checkpoints, whoever trains them, and nothing is left behind.
cat >pbt.yaml <<'YAML'
name: pbt
method: pbt
population: 4
every: 2
dataset: tiny
metric: {name: loss, goal: minimize}
seed: 3
parameters:
  learning_rate: {distribution: log_uniform_values, min: 0.0001, max: 0.3}
  epochs: 5
architecture: "dense:6:relu dense:4"
YAML
expect 0 -- create-task --sweep pbt.yaml
expect 0 -- run-task --workers 3 --until-empty --quiet
expect 0 -- find-task --sweep pbt --sort point_number -o json
json '[t["lineage"]["generation"] for t in it] == [0] * 4 + [1] * 4 + [2] * 4'
json '[t["state"] for t in it] == ["stopped"] * 8 + ["done"] * 4'
json 'all("went on from it" in t["result"]["reason"] for t in it[:8])'
json 'any(t["lineage"]["parent"] != t["point_number"] - 4 for t in it[4:])'
expect 0 -- gc
expect 0 -- fsck
expect 0 -- report pbt --each
said 'lineage.generation'
finish
