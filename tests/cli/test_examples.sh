#!/bin/sh
# SPDX-License-Identifier: Apache-2.0
# Every example of every verb's help is run, each in a copy of one folder in which what it speaks of is there. What cannot
# be had here is replaced: servers by SQLite files, ssh by this machine, zstd by cat, the folder of data by a small one.
set -eu
. "$(dirname "$0")/support.sh"

mkdir world
cd world
mkdir mnist
python3 "$here/make_idx.py" mnist 120 10
cat >sweep.yaml <<'YAML'
name: fashion-width
parameters:
  hidden: [4, 5, 6, 7, 8, 9, 10, 11, 12, 13, 14, 15]
  epochs: 1
architecture: "dense:${hidden}:relu dense:10"
YAML
expect 0 -- save-dataset fashion --idx mnist --validation 20 --tag images
printf 'length,width,species\n' >flowers.csv
for i in 1 2 3 4 5 6 7 8 9 10; do printf '%d,%d,%s\n' $i $((i % 3)) $((i % 2)); done >>flowers.csv
expect 0 -- save-dataset flowers --csv flowers.csv --label species
expect 0 -- create-task --name flowers --dataset flowers --architecture dense:2 --set epochs=1
expect 0 -- create-task --dataset fashion --sweep sweep.yaml
expect 0 -- create-task --name first --dataset fashion --architecture 'dense:100:relu dense:10' --set epochs=1 --tag fashion
expect 0 -- create-task --name gan --dataset fashion --set recipe=gan --set epochs=1 --architecture '{"inputs":
    [{"name": "noise", "shape": [2]}, {"name": "real"}], "layers": [{"type": "dense", "units": 64, "inputs": ["noise"]},
    {"name": "made", "type": "reshape", "shape": [8, 8]}, {"name": "mix", "type": "mix", "inputs": ["made", "real"]},
    {"name": "critic", "type": "dense", "units": 1}], "outputs": ["made", "critic"]}'
expect 0 -- run-task --workers 1 --until-empty --quiet
expect 0 -- get-model first -o net.safetensors
model=$(printf %.8s "$("$tl_hub" find-model first -o csv --columns _id | tail -n 1)")
sed -e 's/hidden: .*/repeat: {values: [a, b, c, d, e, f, g, h, i, j, k, l, m, n, o], label: true}\
  again: {values: [1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 12], label: true}/; s/\${hidden}/4/; s/^name.*/name: many/' \
    sweep.yaml >many.yaml
expect 0 -- create-task --dataset fashion --sweep many.yaml
expect 0 -- cancel-task --sweep many
expect 0 -- create-task --name next --dataset fashion --architecture dense:10 --set epochs=1
expect 0 -- save-log --name by-hand --set step=1 --set loss=1
expect 0 -- save-architecture wide 'dense:100:relu dense:10'
printf '{"layers": [{"type": "dense", "units": 10}]}\n' >net.json
expect 0 -- init --project vision
expect 0 -- init --project physics
expect 0 -- init --project biology
expect 0 -- export hub.tlhub
cp hub.tlhub vision.tlhub.zst
cd ..

mkdir bin
# --foreground: without it, timeout sends SIGCONT after its signal, and that lifts the SIGSTOP by which LeakSanitizer holds
# a process that is about to end; it then waits for ever.
printf '#!/bin/sh\nexec timeout --foreground -s TERM 60 "%s" "$@"\n' "$tl_hub" >bin/tl_hub
printf '#!/bin/sh\nshift\nexec "$@"\n' >bin/ssh
printf '#!/bin/sh\nexec cat\n' >bin/zstd
chmod +x bin/*
PATH=$PWD/bin:$PATH
count=0
for verb in $("$tl_hub" help --list); do
    "$tl_hub" help "$verb" | sed '1,/^examples:$/d' | sed -e ':a' -e '/\\$/{N;s/\\\n */ /;ba' -e '}' >examples
    while IFS= read -r example; do
        line=$(printf '%s\n' "$example" | sed -e 's#/usr/share/datasets/fashion-mnist --validation 5000#mnist --validation 30#' \
            -e "s/3f9a1c/$model/g" -e 's#mongodb://db.example.org/[a-z_]*#sqlite:other.db#' \
            -e 's/-dc vision.tlhub.zst/ <vision.tlhub.zst/')
        # A runner without an end, and a view that goes on, are told to stop.
        case $line in
        *run-task*--until-empty*) ;;
        *run-task*|*watch*) line=$(printf '%s\n' "$line" | sed 's/tl_hub/timeout --foreground -s INT 3 tl_hub/') ;;
        esac
        rm -rf try
        cp -r world try
        case $line in *doctor*other.db*) (cd try && "$tl_hub" init --hub sqlite:other.db >/dev/null) ;; esac
        case $line in *' export '*) rm try/hub.tlhub ;; *' import '*) rm try/tl_hub.db* ;; esac
        code=0
        (cd try && timeout 120 sh -c "$line" >"$work/.out" 2>"$work/.err" </dev/null) || code=$?
        count=$((count + 1))
        # Nothing found or nothing to do is an answer as well; wait says 1 where a task failed.
        case $code in
        0 | 3 | 124 | 130) ;;
        *) fail "help $verb: $line: exit code $code: $(head -n 3 .err)" ;;
        esac
    done <examples
done
[ "$count" -gt 30 ] || fail "only $count examples were found"
finish
