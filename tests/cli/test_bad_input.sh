#!/bin/sh
# SPDX-License-Identifier: Apache-2.0
# Everything that a user can get wrong is answered by one clear line and the right exit code, and changes nothing.
set -eu
. "$(dirname "$0")/support.sh"

mkdir data bad
python3 "$here/make_idx.py" data 120
expect 0 -- save-dataset tiny --idx data

# --- the hub
refuse 3 'no hub at' 'nowhere.db' 'tl_hub init' -- find-task --hub sqlite:nowhere.db
[ ! -e nowhere.db ] || fail 'a verb that only reads made a hub'
refuse 3 'no hub at' -- run-task --until-empty --hub sqlite:nowhere.db
refuse 2 'redis://x' 'unknown scheme' -- find-task --hub redis://x
refuse 2 'unknown scheme' -- save-architecture a dense:4 --hub tl_hub.db
refuse 3 'nope' 'default' 'init --project nope' -- find-task --project nope
start=$(date +%s)
refuse 4 'cannot reach' -- find-task --hub 'mongodb://joe:hunter2@127.0.0.1:9/x?serverSelectionTimeoutMS=500'
[ $(($(date +%s) - start)) -lt 10 ] || fail "the URI's own time limit was not kept"
! grep -q hunter2 .err || fail 'a password in an error'
refuse 2 'not a MongoDB URI' -- find-task --hub 'mongodb://joe:hunter2@/?x'
! grep -q hunter2 .err || fail 'a password in an error about the URI'

refuse 1 'nofolder' 'no such folder' -- init --hub sqlite:nofolder/x.db
refuse 2 'write sqlite:rel.db' -- init --hub sqlite://rel.db
[ ! -e /rel.db ] || fail 'sqlite://rel.db is a file in /'
if [ "$(id -u)" -ne 0 ]; then
    mkdir closed
    chmod 500 closed
    refuse 1 'may not be written to' -- init --hub sqlite:closed/x.db
fi

# a hub that a later version made
cp tl_hub.db newer.db
python3 - <<'PYTHON'
import sqlite3
hub = sqlite3.connect("newer.db")
rows = hub.execute("SELECT rowid, bson FROM c_meta").fetchall()
changed = 0
for row, bson in rows:
    new = bytes(bson)
    for name in (b"\x10schema_version\0", b"\x10min_reader\0", b"\x10min_writer\0"):
        new = new.replace(name + b"\x01\0\0\0", name + b"\x63\0\0\0")
    changed += new != bytes(bson)
    hub.execute("UPDATE c_meta SET bson = ? WHERE rowid = ?", (new, row))
hub.commit()
assert changed == 1, changed
PYTHON
refuse 1 'newer.db' -- find-task --hub sqlite:newer.db
grep -qi 'newer' .err || fail "not said to be newer: $(cat .err)"
echo 'this is no database at all, but long enough to be looked at' >text.db
refuse 1 'text.db' -- find-task --hub sqlite:text.db

# --- where the hub is said
refuse 2 'give one of them' -- find-task --hub sqlite:a --hub-file b
for option in hub hub-file project; do
    refuse 2 "--$option" 'is empty' -- find-dataset --$option ''
done
TL_HUB_URI='' TL_HUB_PROJECT='' "$tl_hub" find-dataset >.out 2>.err || fail "an empty TL_HUB_URI is not as none: $(cat .err)"
printf 'sqlite:tl_hub.db\n' >uri
chmod 644 uri
refuse 1 'uri' 'chmod 600' -- find-dataset --hub-file uri
chmod 600 uri
expect 0 -- find-dataset --hub-file uri
: >empty
chmod 600 empty
refuse 1 'no URI' -- find-dataset --hub-file empty
refuse 3 'missing' -- find-dataset --hub-file missing
mkdir settings
(
    cd settings
    printf 'hub: sqlite:../tl_hub.db\nproject: nope\n' >tl_hub.yaml
    refuse 3 '"nope"' -- find-dataset
    printf 'hub: sqlite:../tl_hub.db\n' >tl_hub.yaml
    expect 0 -- find-dataset
    printf 'hub: sqlite:../tl_hub.db\nhubb: x\n' >tl_hub.yaml
    refuse 1 'tl_hub.yaml:2' 'hubb' -- find-dataset
    printf 'hub: [\n' >tl_hub.yaml
    refuse 1 'tl_hub.yaml:' -- find-dataset
    [ "$failures" -eq 0 ]
) || failures=$((failures + 1))
code=0
TL_HUB_URI=sqlite:tl_hub.db TL_HUB_PROJECT=nope "$tl_hub" find-dataset >.out 2>.err || code=$?
[ "$code" -eq 3 ] || fail 'TL_HUB_PROJECT is not heard'

# --- data
refuse 2 'too many' -- save-dataset x y --idx data
refuse 2 '--idx' -- save-dataset x
refuse 3 'nodir' -- save-dataset x --idx nodir
for part in "train-images-idx3" "train-labels-idx1" "t10k-images-idx3" "t10k-labels-idx1"; do
    cp data/*-ubyte bad
    head -c 100 "data/$part-ubyte" >"bad/$part-ubyte"
    [ "$part" = t10k-labels-idx1 ] && head -c 20 "data/$part-ubyte" >"bad/$part-ubyte"
    refuse 1 "bad/$part-ubyte" 'truncated' -- save-dataset x --idx bad
done
cp data/*-ubyte bad
cp data/train-labels-idx1-ubyte bad/train-images-idx3-ubyte
refuse 1 'bad/train-images-idx3-ubyte' 'label' -- save-dataset x --idx bad
cp data/*-ubyte bad
head -c 60 /dev/urandom >bad/train-images-idx3-ubyte
refuse 1 'bad/train-images-idx3-ubyte' -- save-dataset x --idx bad
cp data/*-ubyte bad
cp data/t10k-labels-idx1-ubyte bad/train-labels-idx1-ubyte
refuse 1 'bad/train-' -- save-dataset x --idx bad
refuse 1 'validation' -- save-dataset x --idx data --validation 5000
refuse 2 '--validation' -- save-dataset x --idx data --validation -1
refuse 2 '--validation' -- save-dataset x --idx data --validation 1.5
refuse 2 '--validation' -- save-dataset x --idx data --validation 1.0
refuse 3 "'x'" -- find-dataset x
refuse 2 'architecture is empty' -- save-architecture x ''

# --- tasks
task() {
    refuse "$@" --dataset tiny
}
cat >good.yaml <<'YAML'
parameters:
  hidden: [4, 8]
  epochs: 1
architecture: "dense:${hidden}:relu dense:4"
YAML
sed 's/^parameters/paramaters/' good.yaml >bad.yaml
task 1 'bad.yaml:1' 'paramaters' -- create-task --sweep bad.yaml
sed 's/^  epochs/  eposch/' good.yaml >bad.yaml
task 1 'bad.yaml:3' 'eposch' -- create-task --sweep bad.yaml
printf 'parameters: [\n' >bad.yaml
task 1 'bad.yaml:' -- create-task --sweep bad.yaml
(cat good.yaml && echo 'tags: [a, b, a]') >bad.yaml
task 1 'bad.yaml:5' "'a' twice" -- create-task --sweep bad.yaml
sed 's/dense:4"/dense:3"/' good.yaml >bad.yaml
task 1 'dense_2' -- create-task --sweep bad.yaml
refuse 3 'missing.yaml' -- create-task --sweep missing.yaml --dataset tiny
refuse 2 '--set' -- create-task --sweep good.yaml --dataset tiny --set epochs=3
refuse 2 '--sweep' -- create-task --name x
refuse 3 'nodata' -- create-task --sweep good.yaml --dataset nodata
task 1 'layer dense_2' -- create-task --architecture 'dense:8:relu dense:3'
task 1 'layer dense_1' 'rel' -- create-task --architecture 'dense:8:rel dense:4'
task 1 'dens' -- create-task --architecture 'dens:8'
task 1 'epochs' -- create-task --architecture dense:4 --set epochs=0
task 1 'learning_rate' -- create-task --architecture dense:4 --set learning_rate=-1
task 1 'epoch' -- create-task --architecture dense:4 --set epoch=3
task 1 'kind' -- create-task --architecture dense:4 --kind dance
task 2 'KEY=VALUE' -- create-task --architecture dense:4 --set epochs
task 3 "'nobody'" -- create-task --architecture dense:4 --after nobody
refuse 3 'fourteen.json' -- create-task --dataset tiny --architecture @fourteen.json
refuse 3 'nomodel' -- create-task --kind test --dataset tiny --model nomodel
expect 3 'no tasks found' -- find-task

# --- filters
for verb in find-task find-model find-dataset find-architecture find-log; do
    refuse 2 '$where' -- "$verb" --filter '{"$where": "1"}'
    refuse 2 '$ne2' -- "$verb" --filter '{"a": {"$ne2": null}}'
    refuse 2 'JSON' -- "$verb" --filter '{"a": '
    refuse 2 'JSON' -- "$verb" --filter '[1]'
    refuse 2 "'accuracy>'" -- "$verb" --where 'accuracy>'
    refuse 2 '$where' -- "$verb" --where '$where=1'
done
refuse 2 '(?i)x' -- find-model --filter '{"name": {"$regex": "(?i)x"}}'
refuse 2 '--state bogus' 'cancelled' -- find-task --state ready,bogus
refuse 2 '--state' -- find-log --state don
refuse 2 '2026-13-01' 'no such date' -- find-task --where 'created_at>2026-13-01'
refuse 2 '2026-11-01T25:00' 'no such date' -- find-task --where 'created_at in (2026-11-01, 2026-11-01T25:00)'
expect 3 'no tasks found' -- find-task --where "name='2026-13-01'"
refuse 2 '--sort' 'up' -- find-model --sort accuracy:up
refuse 2 '--columns' -- find-model --columns ,
refuse 2 '--output xml' -- find-model -o xml

# --- names that do not exist
for verb in find-task find-model find-dataset find-architecture delete-task delete-model delete-dataset \
    delete-architecture cancel-task pause-task resume-task restart-task wait find-log delete-log get-model; do
    refuse 3 "'nobody'" -- "$verb" nobody
done
refuse 3 "'99'" -- find-task 99
refuse 3 "'nobody'" -- tag-model nobody --add x
refuse 3 "'nobody'" -- save-log --task nobody --set loss=1

# --- what is needed but missing
for verb in delete-task delete-model delete-dataset delete-architecture cancel-task pause-task resume-task restart-task \
    wait delete-log get-model; do
    refuse 2 'which' -- "$verb"
done
refuse 2 'NAME' 'missing' -- save-dataset
refuse 2 'whose log' -- save-log --set loss=1
refuse 2 'which tags' -- tag-model x
refuse 2 "there is no verb 'fnid-task'" "'find-task'" -- fnid-task
refuse 2 '--limt' '--limit' -- find-task --limt 3
refuse 2 'there is no verb' -- help frobnicate
refuse 2 '--lease' -- run-task --lease 0.5
refuse 2 '--workers' -- run-task --workers 0
refuse 2 '--threads' -- run-task --threads 0
refuse 2 '--device' -- run-task --device abacus

# --- weights
printf 'xy' >bad.safetensors
refuse 1 'bad.safetensors' 'too short' -- save-model bad.safetensors
head -c 1000 /dev/urandom >bad.safetensors
refuse 1 'bad.safetensors' -- save-model bad.safetensors
python3 - <<'PYTHON'
import struct
header = b'{"w": {"dtype": "F32", "shape": [4], "data_offsets": [0, 16]}}'
with open("short.safetensors", "wb") as file:
    file.write(struct.pack("<Q", len(header)) + header + b"\0" * 12)
PYTHON
refuse 1 'short.safetensors' '16 bytes' '12' -- save-model short.safetensors
refuse 3 'absent.safetensors' -- save-model absent.safetensors
expect 3 'no models found' -- find-model

# --- words are found whatever their case, in Latin, Greek and Cyrillic
expect 0 -- save-architecture 'ÄRMEL Ŵind ΌΧΙ Σίσυφος Ёлка МИР' dense:4
for word in ärmel Ärmel ŵind όχι ΣΊΣΥΦΟΣ σίσυφοσ ёлка Мир; do
    expect 0 -- find-architecture --keyword "$word"
done
expect 0 -- delete-architecture --keyword мир --yes

# --- what a terminal would obey is shown, never sent
escape=$(printf 'evil\033]0;title\007')
expect 0 -- save-architecture "$escape" dense:4
expect 0 -- find-architecture
said 'evil\x1b]0;title\x07'
expect 0 -- find-architecture -o json
json 'it[0]["name"] == "evil\x1b]0;title\x07"'
refuse 3 '\x1b[31mred' -- find-model "$(printf '\033[31mred')"
! grep -q "$(printf '\033')" .out .err || fail 'an escape sequence came through'
finish
