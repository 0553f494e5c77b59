#!/bin/sh
# SPDX-License-Identifier: Apache-2.0
# What finished tasks came to: report as table, CSV, JSON, workbook and page, and tasks side by side.
set -eu
. "$(dirname "$0")/support.sh"

mkdir data
python3 "$here/make_idx.py" data 200
expect 0 -- init
expect 0 -- save-dataset tiny --idx data --validation 40
cat >seeds.yaml <<'YAML'
name: "=seeds <b>&"
dataset: tiny
metric: {name: validation_loss, goal: minimize}
parameters:
  hidden: [4, 8]
  seed: [1, 2, 3]
  learning_rate: 0.01
  note: {values: ["=1+1", "@x"], label: true}
  epochs: 3
architecture: "dense:${hidden}:relu dense:4"
YAML
expect 0 -- create-task --sweep seeds.yaml
refuse 3 'no tasks found' -- report --state running
expect 2 'which tasks' -- report
expect 0 -- report --all -o json
json 'len(it) == 4 and all("objective" not in p for p in it)'
expect 0 -- run-task --workers 1 --until-empty --quiet

# A row is a point, its seeds together.
expect 0 -- report '=seeds <b>&' -o json
json 'len(it) == 4 and all(p["seeds"] == 3 and p["deviation"] > 0 for p in it)'
json '[p["rank"] for p in it] == [1, 2, 3, 4]'
json 'sorted(p["objective"] for p in it) == [p["objective"] for p in it]'
cp .out points.json
expect 0 -- report --all --each -o json
json 'len(it) == 12 and [t["task"] for t in it] == list(range(1, 13))'
cp .out each.json
python3 - <<'PYTHON' || fail 'means and deviations are not those of the tasks'
import json
import statistics
points, tasks = json.load(open("points.json")), json.load(open("each.json"))
for point in points:
    key = {k: v for k, v in point["parameters"].items() if k != "seed"}
    mine = [t for t in tasks if {k: v for k, v in t["parameters"].items() if k != "seed"} == key]
    losses = [t["objective"] for t in mine]
    assert len(losses) == 3
    assert abs(statistics.mean(losses) - point["objective"]) < 1e-12
    assert abs(statistics.stdev(losses) - point["deviation"]) < 1e-12
    for name, value in point["metrics"].items():
        assert abs(statistics.mean(t["metrics"][name] for t in mine) - value) < 1e-12, name
    assert abs(statistics.mean(t["seconds"] for t in mine) - point["seconds"]) < 1e-9
    assert all(t["rank"] == point["rank"] for t in mine)
    assert [t["task"] for t in mine if t["objective"] == min(losses)] == [point["task"]]
PYTHON
expect 0 -- report --all --metric accuracy:max -o json
json '[p["objective"] for p in it] == sorted((p["objective"] for p in it), reverse=True)'
refuse 2 'validation_accuracy' 'nonsense' -- report --all --metric nonsense
expect 0 -- report --all --limit 2 -o json
json 'len(it) == 2'
expect 0 -- report --where 'hyper_parameters.seed=1 and done' -o json
json 'len(it) == 4 and all("seeds" not in p for p in it)'
expect 0 -- report --all
said 'validation_loss'

# Models likewise.
expect 0 -- find-model --group-seeds --sort loss -o json
json 'len(it) == 4 and all(m["seeds"] == 3 and m["deviation"] >= 0 for m in it)'
json '[m["mean"] for m in it] == sorted(m["mean"] for m in it) and all(m["loss"] <= m["mean"] for m in it)'
expect 0 -- find-model --group-seeds --sort loss:desc --limit 2 -o json
json 'len(it) == 2 and it[0]["mean"] >= it[1]["mean"] and it[0]["loss"] >= it[0]["mean"]'
expect 0 -- find-model --group-seeds
said 'mean'
expect 0 -- find-model --group-seeds --sort nothing -o json
json 'len(it) == 4 and all(m["seeds"] == 0 and "mean" not in m for m in it)'

# Nothing that a spreadsheet would take for a formula.
expect 0 -- report --all --each -o csv
grep -q "^1,1,\"'=seeds\|,\"'=seeds" .out || fail "the name is not quoted: $(head -n 2 .out)"
python3 - <<'PYTHON' || fail 'a formula in the CSV'
import csv
rows = list(csv.reader(open(".out", encoding="utf-8", newline="")))
assert len(rows) == 13 and len({len(row) for row in rows}) == 1
for row in rows:
    for cell in row:
        if cell[:1] in "=+-@\t\r" and cell:
            float(cell)
assert any("'=1+1" in row for row in rows)
PYTHON

# A workbook with texts and numbers, and a page that stands by itself.
expect 0 -- report --all --html page.html --xlsx book.xlsx -o json
json 'it == {"html": "page.html", "xlsx": "book.xlsx", "tasks": 12}'
python3 - <<'PYTHON' || fail 'the workbook'
import re
import zipfile
with zipfile.ZipFile("book.xlsx") as book:
    assert book.testzip() is None
    sheet = book.read("xl/worksheets/sheet1.xml").decode()
assert "<f>" not in sheet and "<f " not in sheet and "hyperlink" not in sheet
assert len(re.findall(r"<row ", sheet)) == 13 and "=1+1" in sheet
PYTHON
python3 - <<'PYTHON' || fail 'the page'
import html.parser
import re
text = open("page.html", encoding="utf-8").read()
assert not re.search(r"<script|https?:|//|@import|url\(|\son[a-z]+=|<link|<img|<iframe", text), "something from elsewhere"
assert "<b>&\"" not in text and "=seeds &lt;b&gt;&amp;" in text
assert "prefers-color-scheme:dark" in text and "default-src 'none'" in text

class Parser(html.parser.HTMLParser):
    empty = {"meta", "path", "rect", "circle", "br"}
    def __init__(self):
        super().__init__()
        self.open, self.figures = [], 0
    def handle_starttag(self, tag, attrs):
        self.figures += tag == "figure"
        self.open.append(tag)
        if tag == "meta":
            self.open.pop()
    def handle_startendtag(self, tag, attrs):
        pass
    def handle_endtag(self, tag):
        assert self.open.pop() == tag, (tag, self.getpos())
parser = Parser()
parser.feed(text)
assert parser.open == [] and parser.figures == 7, (parser.open, parser.figures)
assert "nan" not in re.findall(r' (?:d|x|y|cx|cy|width)="[^"]*nan[^"]*"', text)
PYTHON
refuse 1 'no/page.html' -- report --all --html no/page.html
refuse 1 'no/book.xlsx' -- report --all --xlsx no/book.xlsx

# Side by side.
expect 0 -- compare 1 4 -o json
json '[t["task"] for t in it["tasks"]] == [1, 4] and it["curves"] == "validation_loss"'
json 'all(len(t["curve"]["values"]) == 3 and t["curve"]["epochs"] == [1, 2, 3] for t in it["tasks"])'
json 'all("hidden" not in t["differing"] or t["differing"]["hidden"] in (4, 8) for t in it["tasks"])'
json '"learning_rate" not in it["tasks"][0]["differing"] and it["tasks"][0]["results"]["validation_loss"] > 0'
expect 0 -- compare 1-3 --metric accuracy
said 'validation_accuracy by epoch'
said 'A #1'
expect 0 -- find-model --limit 1 -o json
model=$(python3 -c 'import json; print(json.load(open(".out"))[0]["_id"])')
expect 0 -- compare 1 "$model" -o json
json 'len(it["tasks"]) == 2'
expect 0 -- compare 'done and 2-3' -o csv
refuse 3 "'nobody'" -- compare nobody
finish
