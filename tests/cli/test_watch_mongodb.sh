#!/bin/sh
# SPDX-License-Identifier: Apache-2.0
# Watching a hub on a MongoDB server; then one that goes away.
set -eu
. "$(dirname "$0")/support.sh"
. "$here/mongodb.sh"
. "$here/watch.sh"

# --- the server goes away: that is said, and it goes on trying
case $TL_HUB_URI in *\?*) with="$TL_HUB_URI&serverSelectionTimeoutMS=500" ;; *) with="$TL_HUB_URI?serverSelectionTimeoutMS=500" ;; esac
"$tl_hub" watch --hub "$with" --interval 200ms -o json >.pictures 2>.err &
watch=$!
tries=0
until [ -s .pictures ] || [ "$tries" -ge 200 ]; do
    tries=$((tries + 1))
    sleep 0.1
done
[ -s .pictures ] || fail "no picture: $(cat .err)"
"$here/../support/mongo-server" stop "$work/server"
tries=0
until [ "$(grep -c 'does not answer; trying again' .err)" -ge 2 ] || [ "$tries" -ge 300 ]; do
    tries=$((tries + 1))
    sleep 0.1
done
[ "$(grep -c 'does not answer; trying again' .err)" -ge 2 ] || fail "nothing about the outage: $(cat .err)"
kill "$watch" || fail "watch has ended: $(cat .err)"
code=0
wait "$watch" || code=$?
[ "$code" -eq 0 ] || fail "watch left with $code"
finish
