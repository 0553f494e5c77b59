# SPDX-License-Identifier: Apache-2.0
# The tour: data, a sweep, a runner, the best model; and what else a user does with them. Sourced with $engine set, and a hub
# in place where the engine does not make one by itself.
mkdir data
python3 "$here/make_idx.py" data
cat >sweep.yaml <<'YAML'
method: grid
parameters:
  hidden: {values: [16, 8, 4]}
  learning_rate: {value: 0.01}
  batch_size: {value: 32}
  epochs: {value: 3}
architecture: "dense:${hidden}:relu dense:4"
YAML

# --- the four commands, with no hub before them
expect 0 -- save-dataset tiny --idx data --validation 0.1 --tag test --set origin=made -o json
json 'it["name"] == "tiny" and it["version"] == 1 and it["splits"] == {"train": 540, "validation": 60, "test": 200}'
json 'it["origin"] == "made" and it["tags"] == ["test"] and it["input_shape"] == [8, 8] and it["classes"] == 4'
expect 0 -- create-task --dataset tiny --sweep sweep.yaml --name width
said 'submitted 3 tasks #1–#3 of sweep'
expect 0 -- create-task --dataset tiny --sweep sweep.yaml --name width -o json
json 'it["submitted"] == 0 and it["skipped"] == 3 and [t["seq"] for t in it["tasks"]] == [1, 2, 3]'
expect 0 -- create-task --dataset tiny --sweep sweep.yaml --name width
said 'nothing new: 3 tasks'
expect 0 '#1 width' 'epoch 3/3' 'done' -- run-task --workers 2 --until-empty --lease 90s
said '3 done, 0 failed'
expect 0 -- find-model --sort accuracy:desc,loss:asc --limit 5 -o json
json 'len(it) == 3 and all(m["accuracy"] > 0.6 and m["loss"] > 0 and len(m["_id"]) == 32 for m in it)'
json '[m["accuracy"] for m in it] == sorted((m["accuracy"] for m in it), reverse=True)'
json 'sorted(m["hyper_parameters"]["learning_rate"] for m in it) == [0.01] * 3'
json 'sorted(m["point"]["hidden"] for m in it) == [4, 8, 16] and it[0]["created_at"].endswith("Z")'
best=$(python3 -c 'import json,sys; print(json.load(open(sys.argv[1]))[0]["_id"])' .out)
expect 3 'nothing to do' -- run-task --until-empty

# --- the same data again is no new version
expect 0 -- save-dataset tiny --idx data --validation 60
said 'nothing new'
expect 0 -- find-dataset tiny -o json
json 'len(it) == 1'

# --- finding
expect 0 -- find-model --where 'point.hidden in (16, 8) and accuracy>0.5 and not name~zzz' -o json
json 'len(it) == 2'
expect 0 -- find-model --filter '{"point.hidden": {"$lt": 10}}' --keyword width -o json
json 'sorted(m["point"]["hidden"] for m in it) == [4, 8]'
expect 0 -- find-model --columns name,point.hidden --sort point.hidden -o csv
[ "$(tr -d '\r' <.out)" = "$(printf 'name,point.hidden\nwidth,4\nwidth,8\nwidth,16')" ] || fail "CSV: $(cat .out)"
expect 0 -- find-model --sort point.hidden --skip 1 --limit 1 -o json
json 'len(it) == 1 and it[0]["point"]["hidden"] == 8'
expect 0 -- find-model "$(printf %.8s "$best")" -o json
json "len(it) == 1 and it[0]['_id'] == '$best'"
expect 0 -- find-task '#2' 3 -o json
json '[t["seq"] for t in it] == [3, 2] and all(t["state"] == "done" for t in it)'
expect 0 -- find-task --state done --sweep width -o json
json 'len(it) == 3'
expect 3 'no tasks found' -- find-task --unfinished -o json
json 'it == []'
expect 0 -- find-log 1 --split validation -o json
json '[p["epoch"] for p in it] == [1, 2, 3] and all(p["task_seq"] == 1 and p["split"] == "validation" for p in it)'
expect 0 -- wait --sweep width
said '3 tasks ended: 3 well, 0 not'
expect 0 -- status -o json
json 'it["tasks"]["done"] == 3 and it["models"] == 3 and it["datasets"] == 1 and it["done_last_hour"] == 3'
json "it['best_model']['_id'] == '$best'"
expect 0 -- status
said '3 done'

# --- weights out and in
expect 0 -- get-model "$best" -o best.safetensors --format json
json 'it["bytes"] == __import__("os").path.getsize("best.safetensors")'
json 'it["sha256"] == __import__("hashlib").sha256(open("best.safetensors", "rb").read()).hexdigest()'
refuse 1 'best.safetensors' '--force' -- get-model "$best" -o best.safetensors
expect 0 -- get-model --sort accuracy:desc,loss:asc -o best.safetensors --force
"$tl_hub" get-model "$best" -o - >piped.safetensors
cmp best.safetensors piped.safetensors || fail 'what is written to standard output differs'
expect 0 -- save-model best.safetensors --name copy --set accuracy=0.25 --tag mine --architecture 'dense:16:relu dense:4' -o json
json 'it["name"] == "copy" and it["parameters"] == 64 * 16 + 16 + 16 * 4 + 4 and it["tags"] == ["mine"]'
expect 0 -- tag-model copy --add yours --remove mine
expect 0 -- find-model --where tags=yours -o json
json '[m["name"] for m in it] == ["copy"] and it[0]["accuracy"] == 0.25'
expect 0 -- find-model --keyword yours
expect 3 'no models found' -- find-model --keyword mine

# --- a single task, a saved architecture, tasks that wait for others, evaluation
expect 0 -- save-architecture small 'dense:8:relu dense:4' --tag narrow
expect 0 -- save-architecture 'the same' 'dense:8:relu dense:4'
expect 0 -- find-architecture small 'the same' -o json
json 'len(it) == 2 and it[0]["digest"] == it[1]["digest"]'
expect 0 -- create-task --name single --dataset tiny --architecture small --set epochs=2 --set seed=7 --priority 5 -o json
json 'it["seq"] == 4 and it["state"] == "ready" and it["hyper_parameters"]["epochs"] == 2 and it["priority"] == 5'
expect 0 -- create-task --name check --kind test --dataset tiny --model "$(printf %.8s "$best")" --after single -o json
json "it['state'] == 'waiting' and it['model'] == {'_id': '$best'}"
expect 124 'the time is over' -- wait single --timeout 200ms
expect 0 -- run-task --workers 1 --until-empty --quiet -o json
json 'it["done"] == 2 and it["failed"] == 0'
[ ! -s .err ] || fail "--quiet says: $(cat .err)"
expect 0 -- find-task check -o json
json 'it[0]["state"] == "done" and it[0]["result"]["metrics"]["test_accuracy"] > 0.6'

# --- asking something of tasks
expect 0 -- create-task --name later --dataset tiny --architecture small --delay 1h
expect 0 -- pause-task later
expect 0 -- find-task --state paused -o json
json 'len(it) == 1'
expect 0 -- resume-task later
expect 0 -- cancel-task later --reason 'not needed'
expect 1 -- wait later
said '0 well, 1 not'
expect 3 'nothing to do' -- cancel-task later
expect 0 -- restart-task single --set epochs=1
expect 0 -- find-task single -o json
json 'it[0]["state"] == "ready" and it[0]["run"] == 2 and it[0]["hyper_parameters"]["epochs"] == 1'
expect 0 -- run-task --workers 1 --until-empty
expect 0 -- find-model single -o json
json 'sorted(m["run"] for m in it) == [1, 2]'

# --- how tasks are queued, by numbers and ranges
expect 0 -- create-task --name batch --dataset tiny --architecture small --set epochs=1 -o json
last=$(python3 -c 'import json; print(json.load(open(".out"))["seq"])')
for i in 1 2 3; do expect 0 -- create-task --name batch --dataset tiny --architecture small --set epochs=1; done
expect 0 -- set-task "$last-$((last + 1)),$((last + 3))" --priority 9 --queue night -o json
json 'it == {"changed": 3}'
expect 0 -- find-task --where 'priority=9 and queue=night' -o json
json "sorted(t['seq'] for t in it) == [$last, $last + 1, $last + 3]"
expect 0 -- set-task "$last" --resource-class cpu+mem6g -o json
expect 0 -- find-task "$last" -o json
json "it[0]['resource_class'] == 'cpu+mem6g'"
expect 0 -- set-task "$last" --resource-class cpu
expect 1 'resource_class' -- set-task "$last" --resource-class 'no class'
expect 1 'priority' -- set-task "$last" --priority 2000000
expect 2 'set what' -- set-task "$last"
expect 3 "'$((last + 90))-$((last + 95))'" -- set-task "$((last + 90))-$((last + 95))" --priority 1
expect 2 'epochs' -- restart-task "$last" --set epochs=0
expect 2 'learning_rat' -- restart-task "$last" --set learning_rat=1
expect 0 -- stop-task "$last-$((last + 3))" -o json
json 'it == {"changed": 4}'
expect 0 -- find-task batch --state cancelled -o json
json 'len(it) == 4'
expect 3 'nothing to do' -- set-task batch --priority 1

# --- logs of one's own
expect 0 -- save-log --name mine --split test --set epoch=1 --set loss=0.5
expect 0 -- find-log -o json
json 'any(p.get("name") == "mine" and p["loss"] == 0.5 for p in it)'
expect 0 -- delete-log 1
expect 3 'no logs found' -- find-log 1

# --- deleting leaves nothing once gc has run
expect 0 -- delete-model --where 'accuracy<0.3' --dry-run
said 'would delete 1 model'
expect 0 -- delete-model --where 'accuracy<0.3' -o json
json 'it == {"deleted": 1}'
expect 0 -- gc --dry-run -o json
json 'it["blobs_deleted"] == 1 and it["dry_run"]'
expect 0 -- gc -o json
json 'it["blobs_deleted"] == 1'
expect 0 -- gc -o json
json 'it["blobs_deleted"] == 0'
expect 0 -- delete-task later
refuse 2 '--all' '--yes' -- delete-task --all </dev/null
refuse 2 '--yes' -- delete-log --all </dev/null
expect 0 -- delete-task --all --dry-run -o json </dev/null
json 'it["would_delete"] > 0'
expect 0 -- delete-task --all --yes
expect 0 -- delete-dataset tiny
expect 0 -- delete-architecture small
expect 3 'no datasets found' -- find-dataset

# --- projects are apart
expect 0 -- init --project other
expect 3 'no models found' -- find-model --project other
expect 0 -- find-model
expect 0 -- doctor -o json
json '-60000 < it["hub"]["clock_ahead_ms"] < 60000'
json 'it["hub"]["engine"] != "sqlite" or it["hub"]["claim"]["index"] == "claim"'
json "it['hub']['engine'] == '$engine' and 'ref' in it['machine']['devices']"
finish
