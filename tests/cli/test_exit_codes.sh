#!/bin/sh
# SPDX-License-Identifier: Apache-2.0
# The exit codes that docs/command-line.md promises, one after the other.
set -eu
. "$(dirname "$0")/support.sh"

mkdir data
python3 "$here/make_idx.py" data 120

# 0: done; help is for stdout
expect 0 -- --help
said 'usage: tl_hub VERB'
expect 0 -- help
for verb in $("$tl_hub" help --list); do
    expect 0 -- help "$verb"
    said "usage: tl_hub $verb"
    cp .out .help
    expect 0 -- "$verb" --help
    cmp -s .out .help || fail "tl_hub $verb --help differs from tl_hub help $verb"
done
expect 0 -- --version
expect 0 -- version -o json
json 'it["version"].count(".") == 2'
refuse 2 'lanes' 'not 0' -- init --lanes 0
refuse 2 'lanes' 'not 99999999999' -- init --lanes 99999999999
[ ! -e tl_hub.db ] || fail "a refused init made a hub"
expect 0 -- init
said 'made hub sqlite:tl_hub.db'
expect 0 -- init
said 'was there already'
expect 0 -- save-dataset tiny --idx data

# 1: a task failed, or something else did
expect 0 -- create-task --name good --dataset tiny --architecture 'dense:4' --set epochs=1
expect 0 -- create-task --name bad --dataset tiny --architecture 'dense:8 dense:8 dense:8 dense:4' --set epochs=50 \
    --set optimizer=sgd --set learning_rate=1000
expect 1 'failed' -- run-task --workers 1 --until-empty
said '1 done, 1 failed'
expect 1 -- wait --all
said '1 well, 1 not'
expect 0 -- find-task bad -o json
json 'it[0]["state"] == "failed" and it[0]["error"]["message"]'
expect 0 -- wait good
mkdir folder
refuse 1 'folder' -- get-model good -o folder/none/x.safetensors
if [ -e /dev/full ]; then
    code=0
    "$tl_hub" find-task >/dev/full 2>.err || code=$?
    [ "$code" -eq 1 ] || fail "a full standard output gave exit code $code"
fi

# 2: usage
code=0
"$tl_hub" >.out 2>.err || code=$?
[ "$code" -eq 2 ] || fail "no verb at all gave exit code $code"
[ ! -s .out ] || fail 'help that nobody asked for on stdout'
refuse 2 'find-task' -- find-taks

# 3: nothing found, nothing to do
refuse 3 'no tasks found' -- find-task --state running
refuse 3 -- find-model nobody
expect 3 'nothing to do' -- run-task --until-empty
refuse 3 'no hub' -- find-task --hub sqlite:none.db

# 4: unreachable
refuse 4 -- status --hub 'mongodb://127.0.0.1:9/x?serverSelectionTimeoutMS=300'

# 5: not authorised, as a server would say it
mkfifo stub-in
python3 "$here/../support/wire_stub.py" 'find 13 Unauthorized; count 13 Unauthorized; aggregate 13 Unauthorized' 60 \
    <stub-in >stub-port &
stub=$!
exec 9>stub-in
waited=0
while ! [ -s stub-port ] && [ $waited -lt 300 ]; do
    sleep 0.1
    waited=$((waited + 1))
done
port=$(head -n 1 stub-port | tr -dc '0-9')
refuse 5 -- find-task --hub "mongodb://127.0.0.1:$port/x?serverSelectionTimeoutMS=2000"
exec 9>&-
wait "$stub" || true

# 6: conflict: a task that is running is not deleted
expect 0 -- create-task --name long --dataset tiny --architecture 'dense:64:relu dense:4' --set epochs=100000
"$tl_hub" run-task --workers 1 --quiet >.runner 2>&1 &
runner=$!
for _ in $(seq 100); do
    "$tl_hub" find-task --state running >/dev/null 2>&1 && break
    sleep 0.1
done
expect 6 'running' -- delete-task long
# A runner that is told to stop gives its task back, and says that it did.
kill -TERM "$runner"
code=0
wait "$runner" || code=$?
[ "$code" -eq 0 ] || fail "a stopped runner left with $code: $(cat .runner)"
grep -q 'given back' .runner || fail "nothing about a task given back: $(cat .runner)"
expect 0 -- find-task long -o json
json 'it[0]["state"] == "ready"'

# 124: the time is over
expect 124 'the time is over' -- wait long --timeout 100ms

# passwords given on the command line are not in the process list
"$tl_hub" find-task --hub 'mongodb://joe:hunter2@127.0.0.1:9/x?serverSelectionTimeoutMS=3000' >/dev/null 2>&1 &
waiting=$!
sleep 0.5
if [ -r "/proc/$waiting/cmdline" ]; then
    tr '\0' ' ' <"/proc/$waiting/cmdline" >.cmdline
    grep -q 'mongodb://joe:\*' .cmdline || fail "the command line is: $(cat .cmdline)"
    ! grep -q hunter2 .cmdline || fail 'a password in the process list'
fi
kill "$waiting" 2>/dev/null || true
wait "$waiting" 2>/dev/null || true
finish
