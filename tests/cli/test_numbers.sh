#!/bin/sh
# SPDX-License-Identifier: Apache-2.0
# Hyper-parameters and architectures beyond all bounds are refused by create-task: one line that names the field, and
# nothing is made, and nothing large is allocated on the way.
set -eu
. "$(dirname "$0")/support.sh"

mkdir data
python3 "$here/make_idx.py" data 120
expect 0 -- init
expect 0 -- save-dataset tiny --idx data
expect 0 -- save-architecture net 'dense:4:relu dense:4'
# What is allocated for it would not fit. Nor would a sanitizer's shadow.
if ! grep -q __asan_init "$tl_hub"; then
    ulimit -v 2000000
fi
set_is_refused() {
    refuse 1 "hyper_parameters.${1%%=*}" -- create-task --dataset tiny --architecture net --set "$1"
}
for value in 2147483648 -1 nan 1.5 9223372036854775807; do
    set_is_refused "epochs=$value"
    set_is_refused "batch_size=$value"
done
set_is_refused seed=-1
for value in nan inf -1 2147483648; do
    set_is_refused "learning_rate=$value"
done
refuse 2 9223372036854775808 '64 bits' -- create-task --dataset tiny --architecture net --set epochs=9223372036854775808
for units in 2147483648 9223372036854775808 -1 nan 0; do
    refuse 1 dense_1 units -- create-task --dataset tiny --architecture "dense:$units dense:4"
done
refuse 1 dense_2 parameters -- create-task --dataset tiny --architecture 'dense:16777216 dense:16777216 dense:4'
refuse 1 layers 5001 -- create-task --dataset tiny --architecture "$(printf 'dense:1 %.0s' $(seq 5000))dense:4"
refuse 3 -- find-task -o json
finish
