#!/bin/sh
# SPDX-License-Identifier: Apache-2.0
# A sweep whose points another program tries.
# What its parameters mean is that program's business, even where training has one of the name.
set -eu
. "$(dirname "$0")/support.sh"

cat >s.yaml <<'YAML'
name: s
kind: outside
method: tpe
seed: 1
run_cap: 14
parallel: 3
metric: {name: value, goal: maximize}
parameters:
  x: {min: -5.0, max: 5.0}
  kind: [a, b]
  batch_size: {min: -9, max: 0}
YAML
"$tl_hub" init
expect 0 -- create-task --sweep s.yaml
expect 3 'nothing to do' -- run-task --workers 1 --until-empty
expect 0 -- ask s --count 2 -o json
json '[p["point_number"] for p in it] == [0, 1] and set(it[0]["point"]) == {"x", "kind", "batch_size"}'
expect 0 -- ask s --count 5 -o json
json '[p["point_number"] for p in it] == [2]'
refuse 3 'under way' -- ask s
refuse 6 'not under way' -- tell s 7 value=1
refuse 2 'value=VALUE' -- tell s 0 loss=1
refuse 2 'a metric is a number' -- tell s 0 value=high
refuse 2 'METRIC=VALUE' -- tell s 0
expect 0 -- tell s 1 value=2
refuse 3 'under way' -- ask s
expect 0 -- tell s 0 value=1.5 other=3
refuse 6 'not under way' -- tell s 0 value=1
expect 0 -- ask s -n 2 -o json
json '[p["point_number"] for p in it] == [3, 4]'
expect 0 -- tell s 2 --failed 'no memory'
for point in 3 4 5 6 7 8 9 10 11 12 13; do
    "$tl_hub" ask s >ask.txt 2>&1 || true
    expect 0 -- tell s $point value=$point
done
refuse 3 'all its points have ended' -- ask s
expect 0 -- find-task --name s --where 'state=failed' -o json
json 'len(it) == 1 and it[0]["point_number"] == 2'
refuse 3 'no sweep t' -- ask t

# Rungs: told at each, a point goes on, waits or is over; who waits may be given again.
cat >rungs.yaml <<'YAML'
name: rungs
kind: outside
method: random
seed: 1
run_cap: 4
metric: {name: value, goal: minimize}
early_terminate: {type: asha, min_iter: 2, eta: 2, max_iter: 8}
parameters:
  x: {min: -5.0, max: 5.0}
YAML
expect 0 -- create-task --sweep rungs.yaml
expect 0 -- ask rungs --count 2 -o json
json '[(p["point_number"], p["until"]) for p in it] == [(0, 2), (1, 2)]'
refuse 1 'up to: that is 2' -- tell rungs 0 --epoch 4 value=3
refuse 6 'not under way' -- tell rungs 3 --epoch 2 value=3
expect 0 -- tell rungs 0 --epoch 2 value=3 -o json
json 'it == {"point_number": 0, "verdict": "pause"}'
expect 0 -- tell rungs 1 --epoch 2 value=2 -o json
json 'it == {"point_number": 1, "verdict": "promote", "until": 4}'
refuse 6 'not under way' -- tell rungs 0 value=3
expect 0 -- ask rungs --count 9 -o json
json '[(p["point_number"], p["until"]) for p in it] == [(2, 2), (3, 2)]'
expect 0 -- tell rungs 2 --epoch 2 value=9 -o json
json 'it["verdict"] == "pause"'
expect 0 -- tell rungs 3 --epoch 2 value=4
said 'point 3: pause'
expect 0 -- ask rungs --count 9 -o json
json '[(p["point_number"], p["until"]) for p in it] == [(0, 4)]'
expect 0 -- tell rungs 1 --epoch 4 value=1 -o json
json 'it["verdict"] == "pause"'
expect 0 -- tell rungs 0 --epoch 4 value=2 -o json
json 'it["verdict"] == "pause"'
expect 0 -- ask rungs -o json
json '[(p["point_number"], p["until"]) for p in it] == [(1, 8)]'
refuse 1 'its end' -- tell rungs 1 --epoch 8 value=1
expect 0 -- tell rungs 1 value=1
refuse 3 'all its points have ended' -- ask rungs
expect 0 -- find-task --name rungs -o json
json 'sorted(t["state"] for t in it) == ["done", "stopped", "stopped", "stopped"] and all("result" in t for t in it)'

# One program that asks and tells by lines; the points are those that the same seed and results gave before.
sed 's/^name: s/name: lines/' s.yaml >lines.yaml
expect 0 -- create-task --sweep lines.yaml
cat >talk.py <<'PYTHON'
import json
import subprocess
import sys

process = subprocess.Popen(sys.argv[1:], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)


def say(line):
    process.stdin.write(line + "\n")
    process.stdin.flush()
    return json.loads(process.stdout.readline())


first = say('{"ask": 5}')
assert [p["point_number"] for p in first["points"]] == [0, 1, 2] and first["open"], first
assert set(first["points"][0]["point"]) == {"x", "kind", "batch_size"} and first["points"][0]["seed"] == 1, first
assert say('{"ask": 1}') == {"points": [], "open": True}
for line, exit, word in (('{"tell": 9, "metrics": {"value": 1}}', 6, "not under way"), ('{"tell": 0}', 2, "either metrics or failed"),
                         ('{"tell": 0, "metrics": {"loss": 1}}', 2, "metric is value"), ('{"ask": -1}', 2, "at least 0"),
                         ('{"tell": 0, "metrics": {"value": "a"}}', 2, "a number"), ('{"say": 1}', 2, "say"), ('{}', 2, "ask"),
                         ('{"tell": 0, "metrics": {"value": 1}, "failed": "x"}', 2, "either"), ('nonsense', 2, "JSON")):
    answer = say(line)
    assert answer["exit"] == exit and word in answer["error"], (line, answer)
assert say('{"tell": 1, "metrics": {"value": 2}}') == {"told": 1}
assert say('{"tell": 0, "metrics": {"value": 1.5, "other": 3}}') == {"told": 0}
assert [p["point_number"] for p in say('{"ask": 2}')["points"]] == [3, 4]
assert say('{"tell": 2, "failed": "no memory"}') == {"told": 2}
answer = say('{"ask": 1}')
for number in range(3, 14):
    answer = say(json.dumps({"tell": number, "metrics": {"value": number}, "ask": 1}))
    assert answer["told"] == number, answer
assert answer["points"] == [] and not answer["open"] and "all its points have ended" in answer["reason"], answer
process.stdin.close()
sys.exit(process.wait())
PYTHON
python3 talk.py "$tl_hub" ask lines --stdio || fail "the conversation ended with $?"
for name in s lines; do
    "$tl_hub" find-task --name $name --sort point_number:asc -o csv --columns point_number,point.x,point.kind >$name.csv
done
diff s.csv lines.csv || fail "other points than by one verb after the other"
refuse 2 'SWEEP' -- ask --stdio

# The rungs once more, by lines.
sed 's/^name: rungs/name: climb/' rungs.yaml >climb.yaml
expect 0 -- create-task --sweep climb.yaml
cat >.asked <<'LINES'
{"ask": 2}
{"tell": 0, "epoch": 4, "metrics": {"value": 3}}
{"tell": 0, "epoch": 2, "failed": "x"}
LINES
"$tl_hub" ask climb --stdio <.asked >.out || fail "the conversation ended"
[ "$(grep -c '"until": 2}\|up to: that is 2\|epoch: at least 1' .out)" -eq 3 ] || fail "$(cat .out)"
cat >.asked <<'LINES'
{"tell": 0, "epoch": 2, "metrics": {"value": 3}}
{"tell": 1, "epoch": 2, "metrics": {"value": 2}, "ask": 9}
{"tell": 2, "epoch": 2, "metrics": {"value": 9}}
{"tell": 3, "epoch": 2, "metrics": {"value": 4}, "ask": 9}
LINES
"$tl_hub" ask climb --stdio <.asked >.out || fail "$(cat .out)"
python3 - .out <<'PYTHON' || fail "$(cat .out)"
import json
import sys

told = [json.loads(line) for line in open(sys.argv[1])]
assert [(t["told"], t["verdict"], t.get("until")) for t in told] == [(0, "pause", None), (1, "promote", 4), (2, "pause", None),
                                                                    (3, "pause", None)], told
assert [(p["point_number"], p["until"]) for p in told[1]["points"]] == [(2, 2), (3, 2)], told
assert [(p["point_number"], p["until"], p["rungs"]["values"]) for p in told[3]["points"]] == [(0, 4, [3])], told
PYTHON
finish
