#!/bin/sh
# SPDX-License-Identifier: Apache-2.0
# From a table to predictions: save-dataset --csv, a task, and raw rows through predict.
set -eu
. "$(dirname "$0")/support.sh"

# Three kinds of flower, drawn about three means: apart enough that a net must tell 95 of 100, near enough that it takes one.
python3 - <<'PYTHON'
import random

random.seed(7)
kinds = {"setosa": (5.0, 3.4, 1.5, 0.25), "versicolor": (5.9, 2.8, 4.3, 1.3), "virginica": (6.6, 3.0, 5.6, 2.0)}
with open("flowers.csv", "w", encoding="utf-8") as table, open("new.csv", "w", encoding="utf-8") as new:
    table.write("\ufeffsepal length;sepal width;petal length;petal width;place;species\r\n")
    new.write("petal width,petal length,sepal width,sepal length,place\n")
    for i in range(300):
        kind = list(kinds)[i % 3]
        values = [random.gauss(mean, 0.12 + 0.03 * mean) for mean in kinds[kind]]
        place = "" if i % 29 == 0 else random.choice(["meadow", "\"the; wood\""]).strip()
        table.write(";".join("" if i % 41 == 7 and j == 1 else f"{v:.2f}" for j, v in enumerate(values)))
        table.write(f";{place};{kind}\r\n")
        if i < 9:
            new.write(",".join(f"{v:.2f}" for v in reversed(values)) + "," + place + "\n")
PYTHON
gzip -k flowers.csv

expect 0 -- save-dataset flowers --csv flowers.csv.gz --label species --stratify --validation 0.1 --missing 'sepal width=median' -o json
json 'it["splits"] == {"train": 216, "validation": 24, "test": 60} and it["class_names"] == ["setosa", "versicolor", "virginica"]'
json 'it["class_counts"]["test"] == [20, 20, 20] and it["input_shape"] == [6]'
json '[c["kind"] for c in it["preprocess"]["columns"]] == ["number"] * 4 + ["one-hot"] * 2'
json 'it["preprocess"]["columns"][4]["categories"] == ["meadow", "the; wood"] and it["preprocess"]["columns"][4]["missing"] == 11'
expect 0 -- save-dataset flowers --csv flowers.csv --label -1 --stratify --validation 0.1 --missing 'sepal width=median'
said 'nothing new'

expect 0 -- create-task --name flowers --dataset flowers --architecture 'dense:16:relu dense:3' --set epochs=60 \
    --set batch_size=16 --set learning_rate=0.01 --set seed=1
expect 0 -- run-task --until-empty --quiet
expect 0 -- find-model flowers -o json
json 'it[0]["accuracy"] >= 0.95'

# The very rows of the table score as the dataset's own; other columns' order and delimiter do not matter, nor that the
# species is not known.
expect 0 accuracy -- predict --model flowers --input flowers.csv --quiet
expect 0 -- predict --model flowers --input new.csv --no-probabilities -o json
json '[row["name"] for row in it] == ["setosa", "versicolor", "virginica"] * 3'
sed 's/meadow/desert/' flowers.csv >desert.csv
expect 0 'categories that the model' accuracy -- predict --model flowers --input desert.csv --quiet
cut -d, -f1-3,5 new.csv >less.csv
refuse 1 'less.csv:1:1: there is no column sepal length' -- predict --model flowers --input less.csv

# A value as the label, and a series.
python3 - <<'PYTHON'
import math

with open("load.csv", "w", encoding="utf-8") as table:
    table.write("day,load\n")
    for i in range(600):
        table.write(f"2020-{i:04d},{math.sin(i / 7):.6f}\n")
PYTHON
expect 0 -- save-dataset load --csv load.csv --label load --time day --window 16 --split 80/20 -o json
json 'it["splits"] == {"train": 464, "test": 120} and it["input_shape"] == [16, 1] and it["label"] == "value"'
expect 0 -- create-task --name load --dataset load --architecture 'dense:16:tanh dense:1' --set epochs=60 --set learning_rate=0.01 \
    --set batch_size=32
expect 0 -- run-task --until-empty --quiet
expect 0 -- find-model load -o json
json 'it[0]["metrics"]["test_r2"] > 0.98'
expect 0 -- predict --model load --input load.csv -o json
json 'len(it) == 585 and abs(it[-1]["values"][0] - __import__("math").sin(600 / 7)) < 0.2'

# What is wrong is one line with its place, and nothing is saved.
printf 'a,b,y\n1,2,x\n3,4\n' >short.csv
refuse 1 'short.csv:3:3: 2 fields; the first record has 3' -- save-dataset bad --csv short.csv --label y
refuse 1 'no column "z"' -- save-dataset bad --csv flowers.csv --label z
refuse 2 '--label COLUMN' -- save-dataset bad --csv flowers.csv
refuse 2 '--folds goes with --csv' -- save-dataset bad --idx . --folds 3
refuse 2 '--split 80:20' -- save-dataset bad --csv flowers.csv --label species --split 80:20
expect 3 -- find-dataset bad
expect 0 -- save-dataset cross --csv flowers.csv --label species --folds 3 --stratify -o json
json 'len(it) == 3 and sum(d["splits"]["test"] for d in it) == 300 and it[1]["fold"] == 2'
finish
