#!/bin/sh
# SPDX-License-Identifier: Apache-2.0
# export, import and fsck as they are typed: files and pipes, an import killed in its middle, a full disk, a hub in use.
set -eu
. "$(dirname "$0")/support.sh"

hub=sqlite:$work/hub.db
digest() {
    "$tl_hub" fsck --digest --hub "$1"
}

# --- a hub with data, tasks, models and large weights
expect 0 -- save-dataset d --idx "$here/../data/idx_plain" --validation 2 --hub "$hub"
expect 0 -- create-task --name t --dataset d --architecture 'dense:3' --set epochs=1 --set batch_size=4 --hub "$hub"
expect 0 -- run-task --until-empty --hub "$hub"
expect 0 -- create-task --name later --dataset d --architecture 'dense:3' --set epochs=1 --set batch_size=4 --hub "$hub"
python3 - "$work/large.safetensors" 8000000 <<'PYTHON'
import json
import random
import struct
import sys

count = int(sys.argv[2])
header = json.dumps({"w": {"dtype": "F32", "shape": [count], "data_offsets": [0, 4 * count]}}).encode()
header += b" " * (-len(header) % 8)
with open(sys.argv[1], "wb") as file:
    file.write(struct.pack("<Q", len(header)) + header + random.Random(1).randbytes(4 * count))
PYTHON
expect 0 -- save-model --name large --hub "$hub" "$work/large.safetensors"
expect 0 '0 errors, 0 warnings' -- fsck --hub "$hub"
expect 0 '0 errors, 0 warnings' -- fsck --quick -o json --hub "$hub"
json 'it == []'

# --- to a file and back
expect 0 -- export a.tlhub -o json --hub "$hub"
json 'it["counts"]["tasks"] == 2 and it["blobs"] == 5 and len(it["digest"]) == 64'
[ ! -e a.tlhub.part ] || fail 'a.tlhub.part is left'
[ "$(digest "$hub")" = "$(python3 -c 'import json; print(json.load(open(".out"))["digest"])')" ] || fail 'fsck --digest says otherwise'
refuse 1 'there already' -- export a.tlhub --hub "$hub"
expect 0 -- export --force a.tlhub --hub "$hub"
refuse 1 -- export nowhere/a.tlhub --hub "$hub"
refuse 3 'project "none"' -- export b.tlhub --project none --hub "$hub"
[ ! -e b.tlhub ] && [ ! -e b.tlhub.part ] || fail 'something of b.tlhub is left'
expect 0 -- import a.tlhub --hub sqlite:b.db -o json
json 'it["refused"] == 0 and it["digest_equal"] and it["blobs_written"] == 5'
expect 0 '0 errors' -- fsck --hub sqlite:b.db
[ "$(digest "$hub")" = "$(digest sqlite:b.db)" ] || fail 'the digests differ'
expect 0 -- import a.tlhub --hub sqlite:b.db -o json
json 'it["inserted"] == 0 and it["same"] == it["documents"]'
expect 0 -- get-model large --hub sqlite:b.db -o back.safetensors
cmp large.safetensors back.safetensors || fail 'the weights differ'
# The imported task can be trained.
expect 0 -- run-task --until-empty --hub sqlite:b.db
expect 0 '0 errors' -- fsck --hub sqlite:b.db
expect 6 'differs' 'not imported' -- import a.tlhub --hub sqlite:b.db

# --- two to one file: what a killed export left is in nobody's way, what one that goes on writes is
head -c 100000 large.safetensors >two.tlhub.part
exec 8<>two.tlhub.part
flock -n 8
refuse 6 'two.tlhub.part' 'another export' -- export two.tlhub --hub "$hub"
[ ! -e two.tlhub ] && cmp -n 100000 two.tlhub.part large.safetensors || fail 'the part of another export was written over'
exec 8>&-
for i in 1 2 3 4; do
    "$tl_hub" export two.tlhub --hub "$hub" >two.$i 2>&1 &
done
wait
[ "$(grep -l '^exported' two.? | wc -l)" = 1 ] || fail "not one of four: $(cat two.?)"
[ ! -e two.tlhub.part ] || fail 'two.tlhub.part is left'
expect 0 -- import two.tlhub --hub sqlite:two.db -o json
json 'it["digest_equal"]'

# --- through pipes
"$tl_hub" export - --hub "$hub" 2>said | "$tl_hub" import - --hub sqlite:c.db >out 2>&1 || fail "pipe: $(cat said out)"
grep -q "digest $(digest "$hub")" said || fail "export - does not say the digest on stderr: $(cat said)"
[ "$(digest "$hub")" = "$(digest sqlite:c.db)" ] || fail 'the digests differ after a pipe'
"$tl_hub" export --project default - --hub "$hub" 2>/dev/null | gzip -1 >z.gz
gzip -dc z.gz | "$tl_hub" import - --rename other --hub sqlite:c2.db >out 2>&1 || fail "gzip: $(cat out)"
expect 0 -- find-task --project other --hub sqlite:c2.db -o json
json 'len(it) == 2'

# --- files that are no archives
head -c 100000 a.tlhub >short
refuse 1 'short ends early' -- import short --hub sqlite:d.db
[ ! -e d.db ] || fail 'a hub was made for a file that is no good'
printf 'not an archive at all' >text
refuse 1 'not an archive' -- import text --hub sqlite:d.db
refuse 1 -- import missing --hub sqlite:d.db
python3 - <<'PYTHON'
data = bytearray(open("a.tlhub", "rb").read())
data[len(data) // 2] ^= 16
open("flipped", "wb").write(data)
PYTHON
refuse 1 'flipped is damaged' -- import flipped --hub sqlite:d.db

# --- killed in the middle: nothing dangles, and the next run finishes it
size=$(stat -c %s a.tlhub)
for tenth in 2 5 8; do
    mkfifo pipe
    "$tl_hub" import - --hub sqlite:e.db <pipe >/dev/null 2>&1 &
    import=$!
    {
        head -c $((size * tenth / 10)) a.tlhub
        sleep 1
        kill -9 $import
    } >pipe || true
    wait $import 2>/dev/null || true
    rm pipe
    code=0
    "$tl_hub" fsck --stand 1ms --settle 1ms --hub sqlite:e.db >killed 2>&1 || code=$?
    ! grep '^error' killed || fail "after $tenth tenths: $(cat killed)"
    grep -q 'warning import-incomplete' killed || fail "after $tenth tenths nothing is said of it: $(cat killed)"
done
expect 0 -- import a.tlhub --hub sqlite:e.db
expect 0 '0 errors, 0 warnings' -- fsck --hub sqlite:e.db
[ "$(digest "$hub")" = "$(digest sqlite:e.db)" ] || fail 'the digests differ after a kill'

# --- no space left
if [ -w /dev/full ]; then
    code=0
    "$tl_hub" export - --hub "$hub" >/dev/full 2>said || code=$?
    [ $code -eq 1 ] && grep -q 'No space left' said || fail "a full disk: $code: $(cat said)"
fi

# --- a hub in use: a task that runs
python3 - "$work/hub.db" <<'PYTHON'
import sqlite3
import sys

# Behind the program's back: the task that is ready runs. Same length, so that the document stays one.
db = sqlite3.connect(sys.argv[1])
for row, bson in db.execute("SELECT rowid, bson FROM c_tasks").fetchall():
    old = b"\x02state\x00\x06\x00\x00\x00ready\x00"
    if old in bson:
        new = bson.replace(old, b"\x02state\x00\x08\x00\x00\x00running\x00")
        new = (len(new)).to_bytes(4, "little") + new[4:]
        key = db.execute('SELECT "k:state" FROM c_tasks WHERE rowid = ?', (row,)).fetchone()[0].replace(b"ready", b"running")
        db.execute('UPDATE c_tasks SET bson = ?, "k:state" = ? WHERE rowid = ?', (new, key, row))
db.commit()
PYTHON
refuse 6 '1 task is running' '--live' -- export live.tlhub --hub "$hub"
expect 1 -- fsck --quick --hub "$hub"
said 'error claim-missing tasks/'
expect 1 -- fsck --quick -o json --hub "$hub"
json 'len(it) == 1 and it[0]["severity"] == "error" and it[0]["check"] == "claim-missing" and it[0]["advice"]'
expect 1 -- fsck --quick -o csv --hub "$hub"
said 'severity,check,collection,_id,project,what,advice'
expect 0 -- export --live live.tlhub --hub "$hub"
expect 0 -- import live.tlhub --hub sqlite:f.db
expect 0 -- find-task --state ready --hub sqlite:f.db -o json
json 'len(it) == 1'

# --- usage
refuse 2 'FILE is missing' -- export --hub "$hub"
refuse 2 'one argument too many' -- import a b --hub "$hub"
expect 0 -- help fsck
said 'exit: 0 nothing found'
expect 0 -- help --list import
said '--rename=NAME'
finish
