# SPDX-License-Identifier: Apache-2.0
"""The real runner, supervisor and workers, with real training: killed, stopped, told to leave, cut off."""
import contextlib
import fcntl
import os
import pathlib
import random
import signal
import sqlite3
import struct
import subprocess
import sys
import time

from ground import SOURCE, Failed, Proxy, Server

LEASE = "2s"
LEASE_MS = 2000
SHORT, LONG = 300, 6000  # epochs: a tenth of a second, and two seconds or so
POINTS = ["claim.after", "started.after", "beat.after", "checkpoint.before", "checkpoint.after", "logs.after", "chunk.after",
          "files.before", "verify.before", "batch.before", "commit.before", "commit.after", "model.after", "finish.after"]


def prepare(ground, tasks, epochs, name="run"):
    data = ground.folder / "data"
    if not data.exists():
        data.mkdir()
        subprocess.run([sys.executable, str(SOURCE / "tests" / "cli" / "make_idx.py"), str(data)], check=True)
        tl_hub(ground, "save-dataset", "tiny", "--idx", data, "--validation", "0.1")
    sweep = ground.folder / f"{name}.yaml"
    seeds = ", ".join(str(i + 1) for i in range(tasks))
    sweep.write_text(f"method: grid\nparameters:\n  seed: {{values: [{seeds}]}}\n  learning_rate: {{value: 0.01}}\n"
                     f"  batch_size: {{value: 32}}\n  epochs: {{value: {epochs}}}\narchitecture: \"dense:8:relu dense:4\"\n")
    tl_hub(ground, "create-task", "--dataset", "tiny", "--sweep", sweep, "--name", name)


INFER_POINTS = ["claim.after", "started.after", "announce.before", "announce.after", "chunk.before", "chunk.after", "files.before",
                "files.after", "verify.before", "batch.before", "commit.before", "commit.after", "output.before", "output.after",
                "published.after", "finish.after"]
ROWS = 600000  # predicted one by one: some seconds


def write_idx(path, dims, data):
    path.write_bytes(struct.pack(">HBB", 0, 8, len(dims)) + b"".join(struct.pack(">I", d) for d in dims) + data)


def prepare_infer(ground, tasks, epochs=0, name="infer", rows=ROWS, batch=1):
    """Tasks that predict: a model of four values a row, and a dataset with many rows in its test split."""
    data = ground.folder / "rows"
    if not data.exists():
        data.mkdir()
        few = random.Random(1).randbytes(400)
        write_idx(data / "train-images-idx3-ubyte", (100, 2, 2), few)
        write_idx(data / "train-labels-idx1-ubyte", (100,), bytes(v // 128 for v in few[::4]))
        write_idx(data / "t10k-images-idx3-ubyte", (rows, 2, 2), few * (rows // 100))
        write_idx(data / "t10k-labels-idx1-ubyte", (rows,), bytes(v // 128 for v in few[::4]) * (rows // 100))
        tl_hub(ground, "save-dataset", "rows", "--idx", data)
        tl_hub(ground, "create-task", "--name", "base", "--dataset", "rows", "--architecture", "dense:2", "--set", "epochs=1")
        if ground.wait(runner(ground)) != 0:
            raise Failed(f"no model: {ground.last_words()}")
    for i in range(tasks):
        tl_hub(ground, "create-task", "--kind", "infer", "--name", f"{name}-{i}", "--model", "base", "--dataset", "rows",
               "--save-dataset", "predicted", "--set", f"batch_size={batch}")


def all_predicted(ground):
    """Each task's dataset is there once, under the claim that finished it, with every row."""
    made = {d["_id"]: d for d in ground.read("datasets") if d["name"] == "predicted"}
    for task in ground.read("tasks"):
        if task["kind"] != "infer":
            continue
        dataset = made.pop(task["result"]["claim_id"], None)
        if dataset is None or dataset["rows"] != task["result"]["metrics"]["rows"]:
            raise Failed(f"task {task['name']}: its dataset is {dataset}")
    if made:
        raise Failed(f"datasets of no finish are shown: {sorted(made)}")


def infer_worker_killed(ground, points):
    """A worker that predicts dies at a point: the dataset appears once, and whole."""
    prepare_infer(ground, 0, rows=2000)
    passed = 0
    for point in points:
        prepare_infer(ground, 1, name=point.replace(".", "-"), batch=1 if point == "started.after" else 64)
        process = runner(ground, ground.environment(f"{point}:kill", once=f"once-{point}"))
        if ground.wait(process, 90) not in (0, 1):
            raise Failed(f"{point}: the runner ended with {process.returncode}: {ground.last_words()}")
        passed += (ground.folder / f"once-{point}").exists()
    if passed < LEAST * len(points):
        raise Failed(f"only {passed} of {len(points)} points were passed: nothing was shown of the others")
    all_end(ground)
    all_predicted(ground)
    return passed, f"{passed} of {len(points)} points were passed"


def infer_runner_killed(ground, times):
    """The whole runner dies while it predicts."""
    prepare_infer(ground, times)
    for _ in range(times):
        process = runner(ground, until_empty=False)
        ground.until(lambda: any(s == "running" for s in ground.states().values()), 30, "it does not begin")
        time.sleep(ground.random.uniform(0.0, 1.5))
        os.killpg(process.pid, signal.SIGKILL)
        ground.wait(process)
    all_end(ground)
    all_predicted(ground)
    return times, ""


def infer_runner_stopped(ground, times):
    runs, note = runner_stopped(ground, times, prepare_infer)
    all_predicted(ground)
    return runs, note


def tl_hub(ground, *words):
    process = ground.start(ground.world.runner, *words, "--hub", ground.uri)
    if ground.wait(process) != 0:
        raise Failed(f"tl_hub {words[0]} ended with {process.returncode}: {ground.last_words()}")


def runner(ground, environment=None, workers=2, uri=None, lease=LEASE, until_empty=True):
    words = ["run-task", "--workers", workers, "--lease", lease, "--quiet", "--hub", uri or ground.uri]
    if until_empty:
        words.append("--until-empty")
    return ground.start(ground.world.runner, *words, environment=environment, group=True)


def all_end(ground, seconds=240):
    """Another runner does what is left; then the verdict."""
    process = runner(ground)
    status = ground.wait(process, seconds)
    if status not in (0, 1, 3):
        raise Failed(f"the next runner ended with {status}: {ground.last_words()}")
    ground.settle(LEASE_MS)
    ground.judge()
    ground.all_done()


LEAST = 0.5  # of the points a worker that trains must come by; some are of one engine, or of checkpoints


def worker_killed(ground, points):
    """One worker dies at a point: its supervisor starts another, and the sweep ends with every task done."""
    count = 0
    for point in points:
        prepare(ground, 3, LONG if point in ("started.after", "beat.after", "logs.after", "checkpoint.before",
                                             "checkpoint.after") else SHORT, name=point.replace(".", "-"))
        process = runner(ground, ground.environment(f"{point}:kill", once=f"once-{point}"))
        status = ground.wait(process, 240)
        if status not in (0, 1):
            raise Failed(f"{point}: the runner ended with {status}: {ground.last_words()}")
        count += (ground.folder / f"once-{point}").exists()
    if count < LEAST * len(points):
        raise Failed(f"only {count} of {len(points)} points were passed: nothing was shown of the others")
    all_end(ground)
    return count, f"{count} of {len(points)} points were passed"


def runner_killed(ground, times):
    """The whole runner dies at a random moment."""
    prepare(ground, 4 * times, SHORT * 3)
    for _ in range(times):
        process = runner(ground, until_empty=False)
        time.sleep(ground.random.uniform(0.05, 0.8))
        os.killpg(process.pid, signal.SIGKILL)
        ground.wait(process)
    all_end(ground)
    return times, ""


def runner_stopped(ground, times, prepare=prepare):
    """The whole runner is stopped until another has done its tasks; woken, it gives up."""
    slowest = 0.0
    for i in range(times):
        prepare(ground, 2, LONG, name=f"stopped-{i}")
        process = runner(ground, until_empty=False)
        ground.until(lambda: sum(s == "running" for s in ground.states().values()) == 2, 20, "it does not begin")
        stop_without_lock(ground, process)
        ended = ground.wait(runner(ground), 240)
        if ended not in (0, 1):
            raise Failed(f"the successor ended with {ended}: {ground.last_words()}")
        before = visible(ground)
        woken = time.clock_gettime(time.CLOCK_BOOTTIME)
        os.killpg(process.pid, signal.SIGCONT)
        workers = {words[1] for _, words in ground.events("did", "claim", 1)
                   if int(words[1]) in children(process.pid)}
        if len(workers) != 2:
            raise Failed(f"{len(workers)} workers were stopped, not 2")

        def given_up():
            return {words[1] for verb in ("started", "beat", "finish", "release", "checkpoint")
                    for at, words in ground.events("did", verb, 0) if at > woken * 1e6} >= workers
        ground.until(given_up, 5, "the woken runner did not give up")
        slowest = max(slowest, time.clock_gettime(time.CLOCK_BOOTTIME) - woken)
        if visible(ground) != before:
            raise Failed("what a woken runner wrote can be seen")
        process.terminate()
        if ground.wait(process, 30) not in (0, 1):
            raise Failed(f"the woken runner ended with {process.returncode}: {ground.last_words()}")
    all_end(ground)
    return times, f"gave up within {slowest:.2f} s"


def visible(ground):
    return [ground.read(collection) for collection in ("tasks", "models", "datasets")]


def stop_without_lock(ground, process):
    """On SQLite one who is stopped while it reads or writes keeps the file's lock, or its place in the queue of writers, and
    nobody could follow it: not then."""
    while True:
        time.sleep(ground.random.uniform(0.2, 0.4))
        os.killpg(process.pid, signal.SIGSTOP)
        ground.until(lambda: is_stopped(process.pid), 20, "SIGSTOP does not stop it")
        if ground.engine != "sqlite" or is_free(ground.uri.removeprefix("sqlite:")):
            return
        os.killpg(process.pid, signal.SIGCONT)


def is_stopped(pid):
    """A signal is only on its way at first: until its thread's turn comes, the other threads of a process run on."""
    threads = [thread for one in {pid} | children(pid) for thread in pathlib.Path(f"/proc/{one}/task").iterdir()]
    return all((thread / "stat").read_text().rpartition(")")[2].split()[0] in "TZ" for thread in threads)


def is_free(path):
    """Whether nobody has the file, or a place before it."""
    with open(path + ".lock", "rb+") as queue:
        try:
            fcntl.lockf(queue, fcntl.LOCK_EX | fcntl.LOCK_NB)
            fcntl.lockf(queue, fcntl.LOCK_UN)
        except OSError:
            return False
    with contextlib.closing(sqlite3.connect(path, timeout=0, isolation_level=None)) as file:
        try:
            file.execute("BEGIN EXCLUSIVE")
            file.execute("ROLLBACK")
        except sqlite3.OperationalError:
            return False
    return True


def children(pid):
    with open(f"/proc/{pid}/task/{pid}/children") as file:
        return {int(word) for word in file.read().split()}


def told_to_leave(ground, times, then_killed):
    """SIGTERM: out within 30 s, the tasks free at once, no attempt used up. With a SIGKILL after it: taken back later."""
    slowest = 0.0
    for i in range(times):
        prepare(ground, 2, LONG, name=f"leave-{i}")
        process = runner(ground, until_empty=False)
        ground.until(lambda: sum(s == "running" for s in ground.states().values()) == 2, 20, "it does not begin")
        time.sleep(ground.random.uniform(0.0, 1.2))
        start = time.monotonic()
        process.terminate()
        if then_killed:
            time.sleep(ground.random.uniform(0.0, 0.05))
            os.killpg(process.pid, signal.SIGKILL)
            ground.wait(process)
        else:
            if ground.wait(process, 30) not in (0, 1):
                raise Failed(f"it ended with {process.returncode}: {ground.last_words()}")
            slowest = max(slowest, time.monotonic() - start)
            for task in ground.read("tasks"):
                if task["state"] not in ("ready", "done") or task.get("crashes") or task.get("lost"):
                    raise Failed(f"task {task['_id']} is {task['state']} with {task.get('crashes')} crashes, {task.get('lost')} "
                                 f"losses")
        ended = ground.wait(runner(ground), 240)
        if ended not in (0, 1):
            raise Failed(f"the next runner ended with {ended}: {ground.last_words()}")
    all_end(ground)
    return times, "" if then_killed else f"out within {slowest:.2f} s"


def hub_away(ground, outage, lease):
    """The hub cannot be reached while a runner trains, for longer than its lease or shorter."""
    proxy = Proxy(ground.server.uri)
    try:
        uri = proxy.uri(ground.uri)
        prepare(ground, 2, LONG * (2 + int(outage)))
        process = runner(ground, uri=uri, lease=f"{lease}s")
        ground.until(lambda: sum(s == "running" for s in ground.states().values()) == 2, 30, "it does not begin")
        time.sleep(0.5)
        proxy.tell("refuse")
        time.sleep(outage)
        proxy.tell("forward")
        if ground.wait(process, 180) != 0:
            raise Failed(f"the runner ended with {process.returncode}: {ground.last_words()}")
    finally:
        proxy.close()
    taken = len(ground.events("did", "take-back", 1))
    if taken or any(t.get("crashes") or t.get("lost") for t in ground.read("tasks")):
        raise Failed(f"{taken} tasks were taken from the living")
    ground.settle(LEASE_MS)
    ground.judge()
    ground.all_done()
    claims = sum(t["claims"] for t in ground.read("tasks"))
    return 2, f"away {outage:g} s, lease {lease} s: {claims - 2} released and claimed again, none taken back"


def server_restarted(ground, times):
    """The server is stopped and started again while a runner trains and uploads."""
    server = Server(ground.folder / "server", persist=True)
    if not server.is_ours() or not server.start():
        return 0, "a named server is not ours to stop"
    try:
        ground.uri = f"{server.uri}/restarted"
        ground.run("init")
        prepare(ground, 6 * times, SHORT * 4)
        process = runner(ground, lease="20s")
        for _ in range(times):
            done = sum(s == "done" for s in ground.states().values())
            ground.until(lambda: sum(s == "done" for s in ground.states().values()) > done, 60, "the work does not go on")
            time.sleep(ground.random.uniform(0.0, 0.3))
            server.stop()
            time.sleep(ground.random.uniform(0.1, 1.0))
            server.start()
        if ground.wait(process, 180) != 0:
            raise Failed(f"the runner ended with {process.returncode}: {ground.last_words()}")
        ground.settle(LEASE_MS)
        ground.judge()
        ground.all_done()
    finally:
        server.stop()
    return times, ""


def runners(engine, short):
    """[(name, runs, make, function)]"""
    times = 1 if short else 5
    points = ["claim.after", "commit.before", "commit.after"] if short else POINTS
    jobs = [("a worker is killed", len(points), True, lambda g: worker_killed(g, points)),
            ("killed as a whole", 4 * times, True, lambda g: runner_killed(g, 4 * times)),
            ("stopped as a whole, then woken", times, True, lambda g: runner_stopped(g, times)),
            ("SIGTERM", times, True, lambda g: told_to_leave(g, times, False)),
            ("SIGTERM, then SIGKILL", times, True, lambda g: told_to_leave(g, times, True))][:4 if short else 5]
    infer = ["chunk.after", "commit.before", "output.before"] if short else INFER_POINTS
    jobs += [("infer: a worker is killed", len(infer), True, lambda g: infer_worker_killed(g, infer))]
    if not short:
        jobs += [("infer: killed as a whole", times, True, lambda g: infer_runner_killed(g, times)),
                 ("infer: stopped as a whole, then woken", times, True, lambda g: infer_runner_stopped(g, times))]
    if engine == "mongodb" and not short:
        jobs += [("the hub is away for less than the lease", 2, True, lambda g: hub_away(g, 4, 30)),
                 ("the hub is away for twice the lease", 2, True, lambda g: hub_away(g, 8, 4)),
                 ("the server is stopped and started", 3, False, lambda g: server_restarted(g, 3))]
    return jobs
