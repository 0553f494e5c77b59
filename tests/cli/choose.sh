# SPDX-License-Identifier: Apache-2.0
# Tasks chosen by expression, on whatever hub the environment names: sourced by test_choose*.sh.

mkdir data
python3 "$here/make_idx.py" data 120
[ "$engine" = mongodb ] || expect 0 -- init
expect 0 -- save-dataset tiny --idx data
for name in fashion-1 fashion-2 digits-a digits-bb 'two words' ready; do
    expect 0 -- create-task --name "$name" --dataset tiny --architecture dense:4 --set epochs=1
done
expect 0 -- create-task --name broken --dataset tiny --architecture 'dense:8 dense:8 dense:8 dense:4' --set epochs=50 \
    --set optimizer=sgd --set learning_rate=1000 --priority 5
expect 0 -- create-task --name fashion-1 --dataset tiny --architecture dense:4 --set epochs=1 --priority 5
expect 1 -- run-task --workers 1 --max-tasks 2
# Now 7 has failed, 8 is done, 1 to 6 are ready.

# chosen 'EXPRESSION' NUMBERS…: the tasks that it means, as an argument, as --where, and when it is a part of another.
chosen() {
    numbers=$(shift && echo "$*" | tr ' ' ',')
    expect 0 -- find-task "$1" --columns seq -o json
    json "sorted(t['seq'] for t in it) == [$numbers]"
    expect 0 -- find-task --where "$1" --columns seq -o json
    json "sorted(t['seq'] for t in it) == [$numbers]"
    expect 0 -- find-task "($1) and not 999999" --columns seq -o json
    json "sorted(t['seq'] for t in it) == [$numbers]"
}
# none 'EXPRESSION': it means no task, and is not refused.
none() {
    refuse 3 'no tasks found' -- find-task "$1"
}

chosen '1-3,8' 1 2 3 8
chosen '#1-#2,#8' 1 2 8
chosen 'failed,1-2' 1 2 7
chosen 'failed,done' 7 8
chosen 'FAILED' 7
chosen 'ended' 7 8
chosen 'unfinished and not 1-4' 5 6
chosen "'ready'" 6
chosen 'fashion-1,5' 1 5 8
chosen 'fashion-*' 1 2 8
chosen '*-*' 1 2 3 4 8
chosen 'digits-?' 3
chosen 'digits-??' 4
chosen '*a*i*' 1 2 8
chosen '*o*' 1 2 5 7 8
chosen 'name=*-2' 2
chosen 'name!=*-? and not broken' 4 5 6
chosen 'state=failed or name=fash*-2' 2 7
chosen 'state in (failed, done) and 1-7' 7
chosen 'tmod<1h' 1 2 3 4 5 6 7 8
chosen 'tmod<=1h and ready' 1 2 3 4 5 6
chosen 'not tmod>1h and 3' 3
chosen 'tmod>yesterday and age<1d and 4' 4
chosen 'tmod>2020-01-01 and not tmod<2020-01-01 and 4' 4
chosen 'created_at>now-1h and created_at<=now and 5' 5
chosen 'runtime>=0' 7 8
chosen 'runtime>=0 and runtime<1h and done' 8
chosen 'not runtime>=0 and (1-2 or 7)' 1 2
chosen 'hyper_parameters.epochs=50 or (digits-? and unfinished)' 3 7
none 'crashed'
none 'tmod>1h'
none 'age>1d'
none 'runtime>2h'
none 'created_at<yesterday'
none 'zz*'
none 'z?z'

# An id, and its first digits, as parts of an expression.
expect 0 -- find-task 2 -o json
id=$(python3 -c 'import json; print(json.load(open(".out"))[0]["_id"])')
chosen "$id or 5" 2 5
chosen "$(printf %.8s "$id"),5" 2 5

# Refused with the place.
refuse 2 'where it ends' -- find-task 'runtime>'
refuse 2 'position 9' "'soon'" -- find-task 'runtime>soon'
refuse 2 'position 1' '124-186' -- find-task '8-2,x'
refuse 2 'position 4' -- find-task 'x*,,2'
refuse 2 'position 5' -- find-task 'tmod=1h'
refuse 2 'position 12' -- find-task 'failed and or 3'
refuse 2 '--where' 'position 5' -- cancel-task --where 'tmod=1h'
refuse 3 "'nobody'" -- find-task 'nobody,1'
refuse 3 "'no such name'" -- find-task 'no such name'

# A count and a preview; nothing is done unasked.
expect 3 'cancel 3 tasks (3 ready)?' '--yes' '#1 fashion-1 ready' -- cancel-task 'ready and 1-3'
expect 0 '#5 two words ready' 'and 1 more' -- cancel-task 'ready and *' --dry-run -o json
json 'it["would_change"] == 6 and it["tasks"]["ready"] == 6'
expect 3 'delete 3 tasks?' '--yes' -- delete-task 'ready and 1-3'
expect 3 'no tasks found' -- cancel-task 'runtime>2h'
expect 0 -- find-task --state ready -o json
json 'len(it) == 6'

# Every verb that takes tasks.
expect 0 -- pause-task 'ready and *s*' --yes -o json
json 'it == {"changed": 5}'
expect 0 -- resume-task 'paused,7-8' --yes -o json
json 'it == {"changed": 5}'
expect 0 -- set-task 'digits-?' --priority 3 --yes -o json
json 'it == {"changed": 1}'
expect 0 -- cancel-task '*words' --reason 'by its name' --yes -o json
json 'it == {"changed": 1}'
expect 0 -- wait 'runtime>=0 and done'
expect 1 -- wait 'runtime>=0 or 5' -o json
expect 0 -- find-log 'runtime>=0 and done' --split train -o json
json 'len(it) == 1 and it[0]["task_seq"] == 8'
expect 0 -- restart-task 'failed,cancelled' --set learning_rate=0.01 --yes -o json
json 'it == {"changed": 2}'
expect 0 -- delete-log 'runtime>=0' --yes
expect 0 -- delete-task 'fash*-2 or 3-4' --yes -o json
json 'it == {"deleted": 3}'
expect 0 -- find-task -o json
json 'sorted(t["seq"] for t in it) == [1, 5, 6, 7, 8]'
finish
