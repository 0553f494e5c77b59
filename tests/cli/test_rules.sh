#!/bin/sh
# SPDX-License-Identifier: Apache-2.0
# Rules as text on tasks and sweeps: they stop with results and say why, fail, or warn.
set -eu
. "$(dirname "$0")/support.sh"

mkdir data
python3 "$here/make_idx.py" data 120
expect 0 -- save-dataset tiny --idx data --validation 20

task() {
    expect 0 -- create-task --dataset tiny --architecture dense:4 --set epochs=30 --name "$@"
}
task stops --rule 'stop when epoch >= 4 and validation_loss < 1000'
task plateau --set learning_rate=0.001 --rule 'stop when loss has not fallen for 3 epochs by 1000'
task warns --rule 'warn when time > 0s' --rule 'stop when epoch = 2'
task fails --rule 'fail when epoch >= 3'
expect 1 'warn when time > 0s' -- run-task --workers 1 --until-empty

why() {
    expect 0 -- find-task --name "$1" -o json
    json "it[0]['state'] == '$2' and it[0].get('$3', {}).get('$4') == '$5'"
}
why stops stopped result reason 'epoch 4: stop when epoch >= 4 and validation_loss < 1000'
why plateau stopped result reason 'epoch 4: stop when loss has not fallen for 3 epochs by 1000'
why warns stopped result reason 'epoch 2: stop when epoch = 2'
why fails failed error message 'epoch 3: fail when epoch >= 3'
expect 0 -- find-model stops -o json
json 'len(it) == 1 and it[0]["epochs"] == 4'

refuse 1 "nothing is called 'acuracy'" -- create-task --dataset tiny --architecture dense:4 --rule 'stop when acuracy > 1'
refuse 1 "at 'y'" -- create-task --dataset tiny --architecture dense:4 --rule 'stop when loss > x y'
refuse 1 'trains nothing' -- create-task --kind test --dataset tiny --model stops --rule 'stop when loss > 1'
cat >rules.yaml <<'YAML'
dataset: tiny
parameters: {learning_rate: [0.1, 0.2], epochs: 20}
rules:
  - stop when accuracy > 2
  - halt when loss > 1
architecture: "dense:4"
YAML
refuse 1 'rules.yaml:4' 'halt' -- create-task --sweep rules.yaml
sed -i 's/halt/stop/; s/accuracy > 2/epoch > 1/' rules.yaml
expect 0 -- create-task --sweep rules.yaml
expect 0 -- run-task --workers 2 --until-empty --quiet
expect 0 -- find-task --name rules -o json
json "[t['state'] for t in it] == ['stopped'] * 2"
finish
