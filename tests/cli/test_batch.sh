#!/bin/sh
# SPDX-License-Identifier: Apache-2.0
# Batches as tables: a row a task, results in further columns, changed rows again.
set -eu
. "$(dirname "$0")/support.sh"

mkdir data
python3 "$here/make_idx.py" data 120
expect 0 -- init
expect 0 -- save-dataset tiny --idx data
cat >runs.csv <<'CSV'
hidden,learning_rate,epochs,optimizer,label.who,task,rank
4,0.01,2,adam,"me, myself",,
8,0.01,2,sgd,"'=1+1",,
16,0.1,2,,you,,
CSV
batch() {
    "$@" --dataset tiny --architecture 'dense:${hidden}:relu dense:4'
}
batch expect 0 -- create-task --table runs.csv -o json
json 'it == {"name": "runs", "rows": 3, "submitted": 3, "skipped": 0, "existing": 0}'
expect 0 -- find-task runs --sort seq -o json
json '[t["architecture"] for t in it] == ["dense:4:relu dense:4", "dense:8:relu dense:4", "dense:16:relu dense:4"]'
json '[t["hyper_parameters"]["learning_rate"] for t in it] == [0.01, 0.01, 0.1]'
json '[t["hyper_parameters"]["optimizer"] for t in it] == ["adam", "sgd", "adam"]'
json 'it[0]["point"] == {"hidden": 4, "learning_rate": 0.01, "epochs": 2, "optimizer": "adam", "who": "me, myself"}'
json 'it[1]["point"]["who"] == "=1+1"'

# Again is nothing new; a row more is one.
batch expect 0 -- create-task --table runs.csv -o json
json 'it["submitted"] == 0 and it["skipped"] == 3'
echo '32,0.1,2,,you,,' >>runs.csv
batch expect 0 -- create-task --table runs.csv -o json
json 'it["submitted"] == 1 and it["skipped"] == 3'

# A label is one name.
printf 'hidden,label.a,label.a.b\n4,1,2\n' >dotted.csv
batch refuse 1 'dotted.csv:2:' 'column label.a.b: a label' -- create-task --table dotted.csv

# The same row twice is said to be that, and a repeat finds its own tasks, not those of others.
printf 'hidden,epochs\n5,1\n5,1\n6,1\n' >twice.csv
batch expect 0 -- create-task --table twice.csv
said 'submitted 2 tasks of 3 rows; 1 is the same as a row before it'
batch expect 0 -- create-task --table twice.csv --skip-existing
said 'submitted 0 tasks of 3 rows; 2 were there already, 1 is the same as a row before it'
printf 'hidden,epochs\n5,1\n' >one.csv
batch expect 0 -- create-task --table one.csv --skip-existing
said 'submitted 0 tasks of 1 row; 1 is the work of another task'
expect 0 -- delete-task twice --yes

# What is being done already under another name.
batch expect 0 -- create-task --table runs.csv --name others --skip-existing -o json
json 'it["submitted"] == 0 and it["existing"] == 4'
batch expect 0 -- create-task --table runs.csv --name others -o json
json 'it["submitted"] == 4'
expect 0 -- create-task --dataset tiny --architecture 'dense:4:relu dense:4' --set learning_rate=0.01 --set epochs=2.0 \
    --skip-existing -o json
json 'it == {"existing": 1}'
expect 0 -- create-task --dataset tiny --architecture 'dense:4:relu dense:4' --set learning_rate=0.02 --set epochs=2 \
    --skip-existing --name single
cat >grid.yaml <<'YAML'
parameters:
  hidden: {values: [4, 6, 8]}
  learning_rate: {value: 0.01}
  epochs: {value: 2}
architecture: "dense:${hidden}:relu dense:4"
YAML
expect 0 -- create-task --sweep grid.yaml --dataset tiny --skip-existing -o json
json 'it["points"] == 3 and it["existing"] == 1 and it["submitted"] == 2 and it["skipped"] == 0'
expect 0 -- create-task --sweep grid.yaml --dataset tiny --skip-existing -o json
json 'it["existing"] == 1 and it["submitted"] == 0 and it["skipped"] == 2'
expect 0 -- create-task --sweep grid.yaml --dataset tiny --name copy --skip-existing
said 'nothing new: other tasks do 3'
sed 's/^parameters/target: 0.9\nmetric: {name: accuracy, goal: maximize}\n&/' grid.yaml >target.yaml
refuse 1 'target.yaml' 'results of its own tasks' -- create-task --sweep target.yaml --dataset tiny --skip-existing
expect 0 -- cancel-task others single grid --yes

# Back with results, and changed rows again.
expect 0 -- run-task --workers 1 --until-empty --quiet
"$tl_hub" report runs --each -o csv >back.csv
head -n 1 back.csv | grep -q '^rank,task,name,state,.*hidden.*result.accuracy' || fail "columns: $(head -n 1 back.csv)"
expect 3 'every row is as its task is' -- restart-task --from back.csv
python3 - <<'PYTHON'
import csv
rows = list(csv.reader(open("back.csv", newline="")))
epochs, hidden = rows[0].index("epochs"), rows[0].index("hidden")
rows[2][epochs] = "5"
csv.writer(open("changed.csv", "w", newline="")).writerows(rows)
rows[1][hidden] = "5"
csv.writer(open("wrong.csv", "w", newline="")).writerows(rows)
rows[1][hidden] = "4"
rows[3][epochs] = "0"
csv.writer(open("zero.csv", "w", newline="")).writerows(rows)
PYTHON
refuse 1 'wrong.csv:2:' 'column hidden' -- restart-task --from wrong.csv
refuse 1 'zero.csv:4:' 'epochs' -- restart-task --from zero.csv
expect 0 -- restart-task --from changed.csv --dry-run -o json
json 'it == {"would_change": 1}'
expect 0 -- restart-task --from changed.csv -o json
json 'it == {"changed": 1}'
expect 0 -- find-task ready -o json
json 'len(it) == 1 and it[0]["seq"] == 2 and it[0]["hyper_parameters"]["epochs"] == 5 and it[0]["run"] == 2'
expect 3 'every row' -- restart-task --from changed.csv
expect 0 -- run-task --workers 1 --until-empty --quiet

# A workbook goes the same way, there and back.
if command -v xlsx2csv >/dev/null; then
    expect 0 -- report runs --xlsx book.xlsx
    expect 3 'every row is as its task is' -- restart-task --from book.xlsx
    printf 'not a workbook' >bad.xlsx
    expect 1 'bad.xlsx' 'workbook' -- restart-task --from bad.xlsx
else
    echo 'skipped: workbooks, for there is no xlsx2csv' >&2
fi

# Errors name file, line, column; nothing is made.
expect 0 -- find-task -o json
before=$(grep -c '"_id"' .out)
wrong() {
    printf "$1" >wrong.csv
    shift
    batch refuse "$@" -- create-task --table wrong.csv
}
wrong 'hidden,epochs\n4,2\n5,0\n' 1 'wrong.csv:3:3' 'epochs'
wrong 'hidden,epoch\n4,2\n' 1 'wrong.csv:2:3' 'column epoch' 'epochs' 'label.epoch'
wrong 'hidden,epochs\n4,2\n5\n' 1 'wrong.csv:3' '1 cells'
wrong 'epochs\n2\n' 1 'wrong.csv:2' '${hidden}'
wrong 'hidden,hidden\n4,2\n' 1 'wrong.csv:1:8' 'twice'
wrong 'hidden,\n4,2\n' 1 'wrong.csv:2:3' 'without a name'
wrong 'hid den,epochs\n4,2\n' 1 'wrong.csv:1:1' 'no name'
wrong 'hidden,epochs\n' 1 'no rows'
wrong 'hidden,dataset\n4,nobody\n' 1 'wrong.csv:2' 'nobody'
wrong '' 1 'wrong.csv'
batch refuse 3 'none.csv' -- create-task --table none.csv
batch refuse 3 'none.xlsx' -- create-task --table none.xlsx
batch refuse 2 '--set' -- create-task --table runs.csv --set epochs=3
expect 0 -- find-task -o json
[ "$(grep -c '"_id"' .out)" -eq "$before" ] || fail 'a refused table made tasks'
finish
