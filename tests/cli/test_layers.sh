#!/bin/sh
# SPDX-License-Identifier: Apache-2.0
# What help says about layers, and a graph of two inputs and two outputs through save-architecture.
set -eu
. "$(dirname "$0")/support.sh"

expect 0 -- help layers
for type in dense embedding batch_norm max_pool concat; do
    grep -q "^  $type " .out || fail "help layers does not list $type"
done
grep -q '(2 to 8 inputs)' .out || fail 'help layers does not say how many inputs add takes'
[ "$(grep -c '^  [a-z]' .out)" -eq "$("$tl_hub" help layers -o csv | sed 1d | wc -l)" ] || fail 'csv has other layers'
expect 0 -- help layers dropout
grep -q 'number from 0 to below 1; required' .out || fail 'help layers dropout does not say what the rate may be'
expect 2 "no layer 'drop'" -- help layers drop
expect 2 'one verb at a time' -- help wait gc
"$tl_hub" help layers -o json | python3 -c '
import json, sys
types = {t["type"]: t for t in json.load(sys.stdin)}
units = types["dense"]["attributes"][0]
assert units["name"] == "units" and units["required"] and units["maximum"] == 1 << 24, units
assert types["dense"]["attributes"][1]["default"] == "none"
assert types["reshape"]["attributes"][0]["kind"] == "shape"
assert types["avg_pool"]["attributes"][3]["default"] is True
assert types["add"]["inputs"] == {"minimum": 2, "maximum": 8}
for t in types.values():
    assert t["about"], t
    for a in t["attributes"]:
        assert a["about"] and ("default" in a or a["required"] or a["kind"] == "shape"), (t["type"], a)
' || fail 'help layers -o json'

cat >two.json <<'JSON'
{"inputs": [{"name": "user", "shape": [1]}, {"name": "item", "shape": [1]}],
 "layers": [{"name": "u", "type": "embedding", "inputs": ["user"], "rows": 100, "dimension": 8},
            {"name": "i", "type": "embedding", "inputs": ["item"], "rows": 50, "dimension": 8},
            {"name": "score", "type": "dot", "inputs": ["u", "i"]},
            {"name": "both", "type": "concat", "inputs": ["u", "i"], "axis": -1},
            {"name": "rating", "type": "dense", "inputs": ["both"], "units": 5}],
 "outputs": ["score", "rating"]}
JSON
expect 0 -- init
expect 0 -- save-architecture two @two.json
"$tl_hub" find-architecture two -o json | python3 -c '
import json, sys
graph = json.load(sys.stdin)[0]["graph"]
assert [i["name"] for i in graph["inputs"]] == ["user", "item"], graph
assert graph["outputs"] == ["score", "rating"]
assert graph["layers"][0]["deviation"] == 1 and graph["layers"][2]["normalise"] is False
assert "initialiser" not in graph["layers"][4]
' || fail 'the graph of two inputs and outputs'
sed 's/"inputs": \["u", "i"\]}/"inputs": ["u"]}/' two.json >one.json
expect 1 'layer score: inputs: 1 of them: dot takes 2 to 2' -- save-architecture one @one.json
sed 's/"rows": 50/"rows": 0/' two.json >zero.json
expect 1 'layer i: rows: 0 is out of range' -- save-architecture zero @zero.json

# The graph and the chain of docs/architectures.md, and the file of docs/kernels.md, are ones.
docs=$here/../../docs
sed -n '/^```json$/,/^```$/p' "$docs/architectures.md" | sed '/^```/d' >docs.json
expect 0 -- save-architecture docs @docs.json
expect 0 -- save-architecture chain "$(sed -n 's/^ *"\(conv2d.*\)"$/\1/p' "$docs/architectures.md")"
sed -n '/^```c$/,/^```$/p' "$docs/kernels.md" | sed '/^```$/,$d; /^```/d' >layer_softsign.c
grep -q layer_softsign layer_softsign.c || fail 'docs/kernels.md shows no file'
if command -v cc >/dev/null; then
    cc -std=gnu11 -Wall -Wextra -Wconversion -Werror -fsyntax-only -I "$here/../.." layer_softsign.c ||
        fail 'the file of docs/kernels.md does not compile'
fi
finish
