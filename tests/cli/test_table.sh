#!/bin/sh
# SPDX-License-Identifier: Apache-2.0
# A table in 80 columns shows what tells its rows apart; dates give way to it there, and nowhere else.
set -eu
. "$(dirname "$0")/support.sh"

mkdir data
python3 "$here/make_idx.py" data 120
expect 0 -- save-dataset tiny --idx data
cat >fashion-widths-and-rates.yaml <<'YAML'
dataset: tiny
tags: [a-tag-for-it, another-tag]
parameters:
  hidden: [16, 32]
  learning_rate: [0.01, 0.001]
  epochs: 1
architecture: "dense:${hidden}:relu dense:4"
YAML
expect 0 -- create-task --sweep fashion-widths-and-rates.yaml
expect 0 -- run-task --workers 1 --until-empty --quiet
for verb in find-model find-task; do
    COLUMNS=80 "$tl_hub" "$verb" >.out
    for row in 'hidden=16 learning_rate=0\.01( |$)' 'hidden=32 learning_rate=0\.001( |$)'; do
        grep -qE "$row" .out || fail "$verb in 80 columns hides '$row': $(cat .out)"
    done
    python3 - .out <<'PYTHON' || fail "$verb: a row is wider than 80 columns: $(cat .out)"
import sys
sys.exit(any(len(line.rstrip("\n")) > 80 for line in open(sys.argv[1], encoding="utf-8")))
PYTHON
    COLUMNS=200 "$tl_hub" "$verb" >.out
    grep -qE 'now|[0-9] s ago' .out || fail "no ages on a terminal: $(cat .out)"
    "$tl_hub" "$verb" >.out
    grep -qE '20[0-9][0-9]-[0-9]{2}-[0-9]{2} [0-9:]{8}Z' .out || fail "no times in a file: $(cat .out)"
    "$tl_hub" "$verb" -o csv >.out
    grep -qE '20[0-9][0-9]-[0-9]{2}-[0-9]{2}T[0-9:.]{12}Z' .out || fail "no times in CSV: $(cat .out)"
done
finish
