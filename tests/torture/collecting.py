# SPDX-License-Identifier: Apache-2.0
"""gc beside those who upload, commit, roll forward and delete: step by step where the order matters, then all at once."""
import signal
import time

from ground import Failed

LEASE = 600
WATCH = 900  # for a collector that must see an upload stand still, on a busy machine too


def forget_first(ground):
    """Its first version goes. That is not always 1: a name's counter goes on."""
    version = min(int(d["version"]) for d in ground.read("datasets"))
    ground.run("delete-datasets", filter='{"version":%d}' % version)


def reuse_between(ground, collector_at, passed, saver_at, saved, then=""):
    """A version of a dataset goes while the next one, which shares its first part, is being saved, and gc finds that part
    with no pointer. The collector and the saver are stopped at their points; the saver goes on first. saved: whether
    its version must stand (the collector was stopped before it deleted anything of it), or must be refused."""
    ground.run("save", name="d", seed=1)
    saver = ground.client("save", f"{saver_at}:stop,{then}" if then else f"{saver_at}:stop", name="d", seed=2)
    ground.stopped(saver)
    forget_first(ground)
    collector = ground.client("gc", f"{collector_at}:stop:{passed}", lease=WATCH)
    ground.stopped(collector)
    saver.send_signal(signal.SIGCONT)
    status = ground.wait(saver)
    collector.send_signal(signal.SIGCONT)
    ground.wait(collector)
    there = len(ground.read("datasets"))
    if saved and (status != 0 or there != 1):
        raise Failed(f"the new version was not saved: {ground.last_words()}")
    if not saved and (status == 0 or there != 0):
        raise Failed("a version was saved whose part is gone")
    ground.judge()
    return 1, ""


def model_reply_lost(ground):
    """The same with a model that no task made: its weights are condemned when its document is written, and the reply is
    lost."""
    saver = ground.client("save-model", "save_model.before:stop,save_model.before:lose")
    ground.stopped(saver)
    collector = ground.client("gc", "gc_files.before:stop", lease=WATCH)
    ground.stopped(collector)
    saver.send_signal(signal.SIGCONT)
    if ground.wait(saver) != 0:
        raise Failed(f"it was not saved: {ground.last_words()}")
    collector.send_signal(signal.SIGCONT)
    ground.wait(collector)
    ground.judge()
    return 1, ""


def pointer_before_mark(ground):
    """The manifest stands before gc begins: nothing of it is a candidate, though its saver has not yet looked after it."""
    ground.run("save", name="d", seed=1)
    saver = ground.client("save", "keep.before:stop", name="d", seed=2)
    ground.stopped(saver)
    forget_first(ground)
    ground.run("gc", lease=100, rounds=2)
    saver.send_signal(signal.SIGCONT)
    if ground.wait(saver) != 0:
        raise Failed(f"it was not saved: {ground.last_words()}")
    ground.judge()
    return 1, ""


def killed_while_pardoning(ground):
    """gc dies between its mark and its pardon: the mark stays, and harms nothing, for no other gc has its token."""
    ground.run("save", name="d", seed=1)
    saver = ground.client("save", "dataset.before:stop", name="d", seed=2)
    ground.stopped(saver)
    forget_first(ground)
    collector = ground.client("gc", "gc_condemn.after:stop:2,gc_pardon.before:kill", lease=WATCH)
    ground.stopped(collector)
    saver.send_signal(signal.SIGCONT)
    ground.wait(saver)
    collector.send_signal(signal.SIGCONT)
    ground.killed_at(collector, "gc_pardon.before")
    ground.judge()
    return 1, ""


def upload_of_the_living(ground, point, work):
    """A worker is slow in the middle of its upload, for many leases of gc: its claim holds, so its blob stays."""
    ground.run("submit")
    worker = ground.client("work", f"{point}:stop", tasks=1, lease=60000, **work)
    ground.stopped(worker)
    ground.run("gc", lease=50, rounds=3)
    worker.send_signal(signal.SIGCONT)
    if ground.wait(worker) != 0:
        raise Failed(f"its finish was refused: {ground.last_words()}")
    ground.judge()
    ground.all_done()
    return 1, ""


def collector_of_old(ground, point):
    """A collector is stopped with a list of candidates; meanwhile a roll-forward, a restart, a deletion and another
    collector do their work."""
    ground.run("submit", count=3)
    ground.run("work", tasks=3, lease=LEASE)
    ground.run("delete-models", filter='{"task":"t-0"}')
    ground.run("restart", filter='{"_id":"t-0"}')
    collector = ground.client("gc", f"{point}:stop", lease=50)
    ground.stopped(collector)
    ground.run("save", name="d", seed=1)
    ground.settle(LEASE)
    ground.run("gc", lease=50, rounds=2)
    collector.send_signal(signal.SIGCONT)
    ground.wait(collector)
    ground.judge()
    ground.all_done()
    return 1, ""


def churn(ground, seconds):
    """Workers that fall, savers, users who delete and restart, a sweeper, and gc without a pause."""
    choose = ground.random
    tasks = 40
    ground.run("submit", count=tasks)
    sweeper = ground.sweeper(LEASE)
    collector = ground.client("gc", lease=150, rounds=1000000, seconds=seconds + 20)
    end, started, killed = time.monotonic() + seconds, 0, 0
    points = ["chunk.after", "files.after", "commit.before", "commit.after", "model.after", "checkpoint.before",
              "checkpoint.after", "beat.after"]
    running = []
    while time.monotonic() < end:
        for process in [p for p in running if p.poll() is not None]:
            running.remove(process)
            killed += process.returncode == -signal.SIGKILL
            if process.returncode not in (0, 1, 3, 6, -signal.SIGKILL):
                raise Failed(f"{process.args[1:]} ended with {process.returncode}: {ground.last_words()}")
        if len(running) < 5:
            started += 1
            one = choose.randrange(tasks)
            kind = choose.choices(["work", "die", "save", "save-model", "delete-models", "delete-datasets", "restart"],
                                  [6, 3, 2, 1, 2, 2, 3])[0]
            if kind == "work":
                running.append(ground.client("work", tasks=3, lease=LEASE, end="random", checkpoints=2, seconds=3))
            elif kind == "die":
                running.append(ground.client("work", f"{choose.choice(points)}:kill:{choose.randint(1, 2)}", tasks=1,
                                             lease=LEASE, checkpoints=2, seconds=3))
            elif kind == "save":
                running.append(ground.client("save", name=f"d{choose.randrange(2)}", seed=choose.randrange(4)))
            elif kind == "save-model":
                running.append(ground.client("save-model"))
            elif kind == "delete-models":
                running.append(ground.client(kind, filter='{"task":"t-%d"}' % one))
            elif kind == "delete-datasets":
                running.append(ground.client(kind, filter='{"name":"d%d"}' % choose.randrange(2)))
            else:
                running.append(ground.client(kind, filter='{"_id":"t-%d"}' % one))
        time.sleep(0.02)
    for process in running:
        ground.wait(process)
    collector.terminate()
    if ground.wait(collector) != 0:
        raise Failed(f"gc ended with {collector.returncode}: {ground.last_words()}")
    ground.settle(LEASE, sweeper=sweeper)
    rounds = sum("chunks" in line for line in (ground.folder / "output").read_text().splitlines())
    ground.judge()
    ground.all_done()
    return started, f"{killed} killed, {rounds} collections beside them"


def collecting(engine, runs, seconds):
    """[(name, runs, function)]"""
    def repeat(function, *arguments):
        def run(ground):
            count = 0
            for i in range(runs):
                if i:
                    ground.run("delete-datasets", filter="{}")
                    ground.run("gc", lease=50, rounds=2)
                count += function(ground, *arguments)[0]
            return count, ""
        return run
    jobs = [
        ("a part is used again between mark and delete", runs, repeat(reuse_between, "gc_files.before", 1, "dataset.before", True)),
        ("a part is used again between mark and look", runs, repeat(reuse_between, "gc_condemn.after", 2, "dataset.before", True)),
        ("a part is used again when it is gone", runs, repeat(reuse_between, "gc_chunks.before", 2, "dataset.before", False)),
        ("a part is used again, and the manifest's reply is lost", runs,
         repeat(reuse_between, "gc_files.before", 1, "dataset.before", True, "dataset.before:lose")),
        ("weights are condemned, and the model's reply is lost", runs, repeat(model_reply_lost)),
        ("killed while pardoning", runs, repeat(killed_while_pardoning)),
        ("a manifest stands before the mark", runs, repeat(pointer_before_mark)),
        ("everything at once", 1, lambda g: churn(g, seconds)),
    ]
    points = [("verify.before", {"end": "large"}), ("checkpoint.before", {"checkpoints": 1})]
    if engine == "mongodb":
        points += [("chunk.before", {}), ("files.after", {}), ("commit.before", {})]
    for point, work in points:
        jobs.append((f"the living upload slowly, {point}", 1, lambda g, p=point, w=work: upload_of_the_living(g, p, w)))
    for point in ("gc_pointers.before", "gc_pointers.after", "gc_files.before", "gc_chunks.before"):
        jobs.append((f"a collector sleeps at {point}", 1, lambda g, p=point: collector_of_old(g, p)))
    return jobs
