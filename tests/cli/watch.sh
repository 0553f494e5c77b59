# SPDX-License-Identifier: Apache-2.0
# Watching a hub: pictures as lines and as JSON, on a terminal, and what status says of runners and labels. Sourced with
# $engine set, and a hub in place where the engine does not make one by itself.
mkdir data
python3 "$here/make_idx.py" data
expect 0 -- save-dataset tiny --idx data --validation 0.1

# --- what a task requires
expect 0 -- create-task --name plain --dataset tiny --architecture "dense:4" --set epochs=1
expect 0 -- create-task --name needy --dataset tiny --architecture "dense:4" --set epochs=1 --requires gpu,bigmem
expect 0 -- find-task needy -o json
json 'it[0]["resource_class"] == "cpu+bigmem+gpu" and "requires" not in it[0]'
refuse 1 'task.requires' 'is no label' -- create-task --name bad --dataset tiny --architecture "dense:4" --requires 'a b'
cat >sweep.yaml <<'YAML'
parameters: {hidden: {values: [8, 4]}, epochs: {value: 1}}
requires: [gpu]
architecture: "dense:${hidden}:relu dense:4"
YAML
expect 0 -- create-task --dataset tiny --sweep sweep.yaml --queue night
expect 0 -- find-task --where queue=night -o json
json 'len(it) == 2 and {t["resource_class"] for t in it} == {"cpu+gpu"}'
expect 0 -- status -o json
json 'it["tasks"]["ready"] == 4 and it["runners"] == [] and it["unserved"] == []'

# --- watching while a runner without labels works
"$tl_hub" run-task --workers 1 --queue default --queue night --quiet 2>/dev/null >/dev/null &
runner=$!
tries=0
until "$tl_hub" status -o json >.out && python3 -c 'import json; exit(json.load(open(".out"))["tasks"]["done"] != 1)'; do
    tries=$((tries + 1))
    [ "$tries" -lt 300 ] || { fail 'the plain task is not done'; break; }
    sleep 0.1
done
json 'len(it["runners"]) == 1 and it["runners"][0]["silent"] is False and it["runners"][0]["labels"] == []'
json 'it["runners"][0]["queues"] == ["default", "night"]'
json 'sorted([g["queue"], g["resource_class"], g["ready"]] for g in it["unserved"]) == \
      [["default", "cpu+bigmem+gpu", 1], ["night", "cpu+gpu", 2]]'
expect 0 -- status
said 'unserved: 1 ready in queue default that need cpu+bigmem+gpu: no living runner takes them'
expect 0 -- watch --once
said '3 ready, 1 done'
expect 0 -- watch --count 2 --interval 100ms -o json
[ "$(wc -l <.out)" -eq 2 ] || fail "two pictures are two lines: $(cat .out)"
head -n 1 .out >.one && mv .one .out
json 'it["tasks"]["ready"] == 3 and it["done_last_hour"] == 1 and it["running"] == [] and len(it["runners"]) == 1'
refuse 2 'at least 100ms' -- watch --interval 1ms
refuse 2 '-o csv' -- watch -o csv --once
kill "$runner"
wait "$runner" || true

# --- a terminal: redrawn, resized, left by q and by Ctrl-C, and left as it was
python3 - "$tl_hub" <<'PYTHON' || fail 'watch on a terminal'
import fcntl, os, pty, select, signal, struct, sys, termios, time

def start(rows, columns, **environment):
    pid, terminal = pty.fork()
    if pid == 0:
        os.environ.update(TERM="xterm-256color", **environment)
        os.execv(sys.argv[1], [sys.argv[1], "watch", "--interval", "200ms"])
    fcntl.ioctl(terminal, termios.TIOCSWINSZ, struct.pack("HHHH", rows, columns, 0, 0))
    return pid, terminal

def read(terminal, until, seconds=20):
    seen, end = b"", time.time() + seconds
    while time.time() < end and not until(seen):
        if select.select([terminal], [], [], 0.1)[0]:
            try:
                seen += os.read(terminal, 65536)
            except OSError:
                break
    return seen

def ends(pid):
    for _ in range(200):
        done, status = os.waitpid(pid, os.WNOHANG)
        if done:
            return os.waitstatus_to_exitcode(status)
        time.sleep(0.05)
    os.kill(pid, signal.SIGKILL)
    os.waitpid(pid, 0)
    return None

pid, terminal = start(24, 80)
seen = read(terminal, lambda text: text.count(b"\x1b[H") >= 4)
assert b"\x1b[?1049h" in seen and b"3 ready" in seen and b"\x1b[32m" in seen, seen
assert seen.count(b"\x1b[2J") == 1, "cleared once, then drawn over"
fcntl.ioctl(terminal, termios.TIOCSWINSZ, struct.pack("HHHH", 10, 30, 0, 0))
read(terminal, lambda text: text.count(b"\x1b[H") >= 2)
seen = read(terminal, lambda text: text.count(b"\x1b[H") >= 2)
frame = seen.split(b"\x1b[H")[1]
import re
lines = re.sub(rb"\x1b\[[?0-9;]*[A-Za-z]", b"", frame).replace(b"\r", b"").split(b"\n")
assert len(lines) <= 10 and all(len(line.decode("utf-8", "replace")) <= 30 for line in lines), lines
os.write(terminal, b"q")
rest = read(terminal, lambda text: b"\x1b[?1049l" in text)
assert b"\x1b[?25h\x1b[?1049l" in rest, rest
assert ends(pid) == 0, "q leaves"
os.close(terminal)

pid, terminal = start(24, 80, NO_COLOR="1")
seen = read(terminal, lambda text: text.count(b"\x1b[H") >= 3)
assert b"3 ready" in seen and b"\x1b[32m" not in seen and b"\x1b[33m" not in seen, seen
os.write(terminal, b"\x03")
read(terminal, lambda text: b"\x1b[?1049l" in text)
assert ends(pid) == 0, "Ctrl-C leaves"
PYTHON
