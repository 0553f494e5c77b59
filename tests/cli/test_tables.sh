#!/bin/sh
# SPDX-License-Identifier: Apache-2.0
# examples/tables, each by its one command with few epochs and few nets, and the README's way from a table to the best of a
# search, word for word. scikit-learn's tables are taken where this machine has them; else others of their form are made here.
set -eu
. "$(dirname "$0")/support.sh"
root=$here/../..
data=/usr/lib/python3/dist-packages/sklearn/datasets/data
if [ ! -e "$data/iris.csv" ]; then
    echo "made tables in place of scikit-learn's: this machine has no python3-sklearn"
    data=$work/data
    mkdir "$data"
    python3 - "$data" <<'PYTHON'
import gzip
import random
import sys

state = random.Random(3)


def rows(path, opener, header, centres, each, form):
    with opener(path, "wt") as file:
        file.write(header)
        for i in range(each * len(centres)):
            label = i % len(centres)
            file.write(",".join(form(state.gauss(centre, 1)) for centre in centres[label]) + f",{label}\n")


def centres(classes, width):
    return [[state.uniform(2, 14) for _ in range(width)] for _ in range(classes)]


folder = sys.argv[1]
rows(f"{folder}/iris.csv", open, "150,4,setosa,versicolor,virginica\n", centres(3, 4), 50, "{:.1f}".format)
rows(f"{folder}/wine_data.csv", open, "177,13,class_0,class_1,class_2\n", centres(3, 13), 59, "{:.2f}".format)
rows(f"{folder}/digits.csv.gz", gzip.open, "", centres(10, 64), 100, "{:.18e}".format)
PYTHON
fi

export EXAMPLE_EPOCHS=3 EXAMPLE_NETS=20 TL_HUB="$tl_hub"
for name in iris digits wine series thousand; do
    mkdir "$name"
    cd "$name"
    "$root/examples/tables/run" $name "$data" >.out 2>.err || fail "examples/tables/run $name: $(cat .err)"
    said=$(grep -c "^[0-9a-f]\{12\} *$name " .out) || said=0
    [ "$said" -eq "$([ $name = series ] && echo 2 || echo 3)" ] || fail "examples/tables/run $name shows $said nets: $(cat .out)"
    cd ..
done
[ -s thousand/thousand.html ] || fail "examples/tables/run thousand: there is no thousand.html"
expect 0 -- find-task --hub sqlite:thousand/tl_hub.db --state done --limit 100 -o csv --columns seq
[ "$(wc -l <.out)" -eq 21 ] || fail "examples/tables/run thousand: $(wc -l <.out) lines of tasks, not 21"
cat >wrong.sh <<'SH'
"$1" iris nowhere
SH
! sh wrong.sh "$root/examples/tables/run" 2>.err || fail "a folder that is not there is taken"
grep -q 'nowhere/iris.csv' .err || fail "the table that is missing is not named: $(cat .err)"

# The README: the commands of its section, and the file beside them; a search of 20 nets is enough here.
sed -n '/^## From a table/,/^## Many/p' "$root/README.md" >section
sed -n '/^```yaml/,/^```/p' section | sed '/^```/d; s/^run_cap: 100$/run_cap: 20/' >search.yaml
grep -q '^run_cap: 20$' search.yaml || fail "the README's search.yaml has no run_cap of 100"
sed -n '/^```sh/,/^```/p' section | sed '/^```/d' >commands
[ "$(wc -l <commands)" -ge 8 ] || fail "the README has $(wc -l <commands) commands"
mkdir bin
ln -s "$tl_hub" bin/tl_hub
ln -s "$root/examples" examples
PATH=$PWD/bin:$PATH timeout 200 sh -eu commands >.out 2>.err || fail "the README's commands: $(cat .err)"
[ -s search.html ] || fail "the README's report is not there"
[ "$(grep -c -E 'daisy|marigold|poppy' .out)" -ge 10 ] || fail "the README's predictions name no species: $(tail -n 12 .out)"
finish
