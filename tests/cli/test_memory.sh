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
finish
