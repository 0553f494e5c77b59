#!/bin/sh
# SPDX-License-Identifier: Apache-2.0
# Logs are found and deleted by their task, by their run, and by the name that somebody saved them under.
set -eu
. "$(dirname "$0")/support.sh"

# --- a log of one's own
expect 0 -- save-log --name by-hand --set step=100 --set loss=0.31 --tag Odd
expect 0 -- save-log --name other --set epoch=1 --set loss=0.5
for way in '--name by-hand' 'by-hand' '--where name=by-hand' '--keyword odd'; do
    # shellcheck disable=SC2086 # words
    expect 0 -- find-log $way -o json
    json 'len(it) == 1 and it[0]["name"] == "by-hand" and it[0]["loss"] == 0.31'
done
expect 3 'no logs found' -- find-log --name nobody
refuse 2 '--split tets' 'train, validation and test' -- save-log --name x --split tets --set loss=1
refuse 1 'epoch' 'number' -- save-log --name x --set epoch=abc
refuse 2 'give one of them' -- save-log --name x --task 1 --set loss=1
expect 3 'no logs found' -- delete-log --name nobody
expect 0 -- delete-log --name by-hand --dry-run
said 'would delete 1 saved log'
expect 0 -- delete-log --name by-hand -o json
json 'it == {"deleted": 1}'
expect 3 'no logs found' -- find-log --name by-hand
expect 0 -- find-log other
expect 0 -- delete-log other
refuse 3 'no logs found' -- find-log

# --- of every run of a task
mkdir data
python3 "$here/make_idx.py" data 120
expect 0 -- save-dataset tiny --idx data
expect 0 -- create-task --name a --dataset tiny --architecture dense:4 --set epochs=2
expect 0 -- run-task --workers 1 --until-empty --quiet
expect 0 -- restart-task a --set epochs=3
expect 0 -- run-task --workers 1 --until-empty --quiet
for run in 1 2; do
    expect 0 -- find-log a --run "$run" --split train -o json
    json "[(p['run'], p['epoch']) for p in it] == [($run, e + 1) for e in range($run + 1)]"
done
expect 0 -- find-log a --split train -o json
json 'len(it) == 5'
expect 0 -- find-log a --sort loss:desc,epoch --limit 3 --skip 1 -o json
json 'len(it) == 3 and [p["loss"] for p in it] == sorted((p["loss"] for p in it), reverse=True)'
expect 0 -- find-log a --split train --sort run:desc,epoch --columns run,epoch -o csv
[ "$(tr -d '\r' <.out | tr '\n' ' ')" = 'run,epoch 2,1 2,2 2,3 1,1 1,2 ' ] || fail "the order: $(cat .out)"
expect 0 -- find-log a --points 'run=2 and epoch>=2 and split=train' -o json
json '[(p["run"], p["epoch"]) for p in it] == [(2, 2), (2, 3)]'
expect 0 -- find-log a --points '{"epoch": {"$in": [3]}, "split": "train"}' --split train -o json
json 'len(it) == 1'
expect 3 'no logs found' -- find-log a --points 'epoch>7'
refuse 2 '--points' -- find-log a --points 'epoch>'
refuse 2 '--sort' -- find-log a --sort ''
expect 0 -- find-model a --columns name,point --limit 1
said 'epochs=3'
expect 0 -- find-model a --columns name,hyper_parameters --limit 1 -o csv
said '""epochs""'
expect 0 -- delete-log a
expect 3 'no logs found' -- find-log a
finish
