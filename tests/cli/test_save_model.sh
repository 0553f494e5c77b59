#!/bin/sh
# SPDX-License-Identifier: Apache-2.0
# Weights that are saved by hand are those of the net that they are said to be; the best model is one that has the key.
set -eu
. "$(dirname "$0")/support.sh"

mkdir data
python3 "$here/make_idx.py" data 120
expect 0 -- save-dataset tiny --idx data
expect 0 -- create-task --name net --dataset tiny --architecture 'dense:8:relu dense:4' --set epochs=1
expect 0 -- run-task --workers 1 --until-empty --quiet
expect 0 -- get-model net -o net.safetensors

expect 0 -- save-model net.safetensors --architecture 'dense:8:tanh dense:4' --set accuracy=0.91 -o json
json 'it["name"] == "net" and it["accuracy"] == 0.91 and it["parameters"] == 8 * 64 + 8 + 8 * 4 + 4'
refuse 1 'net.safetensors' 'dense_1.weight' '(8, 64)' -- save-model net.safetensors --architecture 'dense:9 dense:4'
refuse 1 'no tensor dense_3.weight' -- save-model net.safetensors --architecture 'dense:8 dense:4 dense:4'
for key in _id project name blob_id created_at; do
    refuse 2 "--set $key" -- save-model net.safetensors --set "$key=x"
done

refuse 3 'none of 2 matching models' "'acuracy'" -- get-model --sort acuracy:desc -o best.safetensors
[ ! -e best.safetensors ] || fail 'a model was written'
refuse 3 'no models found' -- get-model --where name=nobody --sort accuracy:desc -o best.safetensors
expect 0 -- get-model --sort accuracy:desc -o best.safetensors
finish
