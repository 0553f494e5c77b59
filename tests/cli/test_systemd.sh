#!/bin/sh
# SPDX-License-Identifier: Apache-2.0
# The unit of a runner: installed with the program's place in it, hardened, and without a complaint of systemd's. And what
# it counts on: a runner that is told to leave has not failed, whatever its tasks came to.
set -eu
. "$(dirname "$0")/support.sh"
cmake --install "$build" --prefix "$work/prefix" >install.log 2>&1 || fail "cmake --install: $(cat install.log)"
unit=$work/prefix/lib/systemd/system/tl_hub-runner@.service
[ -f "$unit" ] || { fail 'no unit was installed'; finish; }
grep -q "^ExecStart=$work/prefix/bin/tl_hub run-task " "$unit" || fail "it does not start the installed program: $(grep ExecStart "$unit")"
for line in Type=exec KillSignal=SIGTERM KillMode=mixed Restart=on-failure NoNewPrivileges=yes ProtectSystem=strict \
    PrivateTmp=yes DynamicUser=yes 'EnvironmentFile=/etc/tl_hub/runner-%i.env'; do
    grep -qxF "$line" "$unit" || fail "no $line in the unit"
done
seconds=$(sed -n 's/^TimeoutStopSec=//p' "$unit")
[ "$seconds" -gt 30 ] || fail "a runner may take 30 s to leave, the unit gives it $seconds"
if command -v systemd-analyze >/dev/null; then
    cp "$unit" "$work/tl_hub-runner@test.service"
    systemd-analyze verify --man=no "$work/tl_hub-runner@test.service" >verify.log 2>&1 || true
    grep 'tl_hub-runner' verify.log >.about || true
    [ ! -s .about ] || fail "systemd-analyze verify: $(cat .about)"
    if systemd-analyze security --offline=true --threshold=30 "$work/tl_hub-runner@test.service" >security.log 2>&1; then
        tail -n 1 security.log
    elif grep -q 'Overall exposure' security.log; then
        fail "systemd-analyze security: $(tail -n 1 security.log)"
    fi
fi

# --- told to leave after a task has failed: done; as a batch: failed
mkdir data
python3 "$here/make_idx.py" data
expect 0 -- save-dataset tiny --idx data
for name in one two; do
    expect 0 -- create-task --name $name --dataset tiny --architecture "dense:4" --set epochs=1
done
expect 0 -- delete-dataset tiny --yes
"$tl_hub" run-task --workers 1 --quiet >.out 2>.err &
runner=$!
tries=0
until [ "$("$tl_hub" find-task --state failed -o json 2>/dev/null | grep -c '"_id"')" -eq 2 ] || [ "$tries" -ge 300 ]; do
    tries=$((tries + 1))
    sleep 0.1
done
kill "$runner"
code=0
wait "$runner" || code=$?
[ "$code" -eq 0 ] || fail "told to leave, with failed tasks, it left with $code"
expect 0 -- restart-task --state failed
expect 1 -- run-task --workers 1 --quiet --until-empty
finish
