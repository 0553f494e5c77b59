# SPDX-License-Identifier: Apache-2.0
"""Workers that are stopped (SIGSTOP) until their lease is over and another has their task, and then go on."""
import signal
import time

from ground import Failed

LEASE = 700
GIVE_UP = 5.0

# On SQLite a point inside a transaction holds the file's lock: see stopped_with_the_lock.
POINTS = [
    ("claim.after", {}, ("sqlite", "mongodb")),
    ("started.before", {}, ("sqlite", "mongodb")),
    ("beat.before", {}, ("sqlite", "mongodb")),
    ("checkpoint.before", {"checkpoints": 1}, ("sqlite", "mongodb")),
    ("epoch.before", {"epochs": 1}, ("sqlite", "mongodb")),
    ("commit.before", {"epochs": 1}, ("mongodb",)),
    ("logs.before", {}, ("mongodb",)),
    ("finish.before", {}, ("sqlite", "mongodb")),
    ("batch.before", {}, ("sqlite", "mongodb")),
    ("announce.before", {}, ("mongodb",)),
    ("chunk.before", {}, ("mongodb",)),
    ("verify.before", {"end": "large"}, ("sqlite",)),
    ("verify.before", {}, ("mongodb",)),
    ("files.before", {}, ("mongodb",)),
    ("files.after", {}, ("mongodb",)),
    ("commit.before", {}, ("mongodb",)),
    ("release.before", {"end": "release"}, ("sqlite", "mongodb")),
    ("crash.before", {"end": "crash"}, ("sqlite", "mongodb")),
    ("crash.write", {"end": "crash"}, ("sqlite", "mongodb")),
    ("failed.before", {"end": "fail"}, ("sqlite", "mongodb")),
    ("cancelled.before", {"end": "cancel"}, ("sqlite", "mongodb")),
]


def wake(ground, zombies, allowed):
    """All go on, and must have given up soon. The slowest, in seconds."""
    start = time.monotonic()
    for zombie in zombies:
        zombie.send_signal(signal.SIGCONT)
    for zombie in zombies:
        status = ground.wait(zombie, 30)
        if status not in allowed:
            raise Failed(f"a woken worker ended with {status}, not one of {allowed}: {ground.last_words()}")
    slowest = time.monotonic() - start
    if slowest > GIVE_UP:
        raise Failed(f"it took {slowest:.1f} s until all woken workers had given up; {GIVE_UP:g} s are promised")
    return slowest


def make_zombies(ground, each):
    points = [(p, w) for p, w, engines in POINTS if ground.engine in engines for _ in range(each)]
    ground.run("submit", count=len(points))
    zombies = [ground.client("work", f"{point}:stop", tasks=1, lease=LEASE, **work) for point, work in points]
    for zombie in zombies:
        ground.stopped(zombie)
    sweeper = ground.sweeper(LEASE)
    ground.until(lambda: len(ground.events("did", "take-back", 1)) >= len(zombies), 30, "not every zombie's task was taken back")
    sweeper.terminate()
    ground.wait(sweeper)
    return zombies


def seen(ground):
    """What a user can see: tasks, models, and the logs of the claims that tasks name."""
    tasks = ground.read("tasks")
    named = {claim for t in tasks for claim in ((t.get("claim") or {}).get("id"), (t.get("result") or {}).get("claim_id"))}
    by_id = lambda documents: sorted(documents, key=lambda d: str(d["_id"]))
    return by_id(tasks), by_id(ground.read("models")), by_id(log for log in ground.read("logs") if log.get("claim") in named)


def woken_beside_successor(ground, each):
    """The successors are at work when the zombies wake."""
    zombies = make_zombies(ground, each)
    # As many at once as there are tasks; their own lease is long, so that a slow machine loses none.
    hold = 2000 + 300 * len(zombies)
    successors = [ground.client("work", tasks=1, hold=hold, lease=20000, until_empty=1) for _ in zombies]
    ground.until(lambda: sum(t["claims"] >= 2 and t["state"] == "running" for t in ground.read("tasks")) == len(zombies),
                 hold / 1000, "not every task has a successor")
    slowest = wake(ground, zombies, (6,))
    for successor in successors:
        if ground.wait(successor, 240) != 0:
            raise Failed(f"a successor lost its task: {ground.last_words()}")
    ground.settle(LEASE)
    ground.judge()
    ground.all_done()
    return len(zombies), f"gave up within {slowest:.1f} s"


def woken_after_successor(ground, each):
    """The successors have finished, and all was collected, when the zombies wake."""
    zombies = make_zombies(ground, each)
    ground.settle(LEASE)
    ground.run("gc", lease=100)
    before = seen(ground)
    slowest = wake(ground, zombies, (6,))
    if seen(ground) != before:
        raise Failed("what a woken worker wrote can be seen")
    ground.judge()
    ground.all_done()
    return len(zombies), f"gave up within {slowest:.1f} s"


def woken_after_commit(ground, each):
    """Stopped behind its commit: the sweeper shows the model, a user deletes it, and it stays deleted."""
    points = [p for p in ("model.before", "published.before", "upload_done.before") for _ in range(each)]
    ground.run("submit", count=len(points))
    zombies = [ground.client("work", f"{point}:stop", tasks=1, lease=LEASE) for point in points]
    for zombie in zombies:
        ground.stopped(zombie)
    ground.settle(LEASE)
    ground.run("delete-models", filter="{}")
    before = [m["_id"] for m in ground.read("models") if not m.get("deleted")]
    ground.run("gc", lease=100)
    slowest = wake(ground, zombies, (0,))
    after = [m["_id"] for m in ground.read("models") if not m.get("deleted")]
    if before or after:
        raise Failed(f"models were deleted, and {after} are back")
    ground.judge()
    ground.all_done()
    return len(points), f"through within {slowest:.1f} s; deleted models stayed deleted"


def woken_in_the_next_run(ground, point):
    """Stopped between its commit and its last word; shown by another, restarted by the user; the next run's worker dies
    behind its commit. What the woken one says of its own run must not touch the next: its model is still to be shown."""
    ground.run("submit")
    if point == "publish.before":  # a sweeper that rolls forward
        ground.killed_at(ground.client("work", "commit.after:kill", tasks=1, lease=LEASE), "commit.after")
        zombie = ground.sweeper(LEASE, fault="publish.before:stop")
    else:
        zombie = ground.client("work", f"{point}:stop", tasks=1, lease=LEASE)
    ground.stopped(zombie)
    ground.run("restart", filter="{}")  # publishes first
    ground.killed_at(ground.client("work", "commit.after:kill", tasks=1, lease=LEASE), "commit.after")
    zombie.send_signal(signal.SIGCONT)
    if point == "publish.before":
        zombie.terminate()
    if ground.wait(zombie) != 0:
        raise Failed(f"the woken one ended with {zombie.returncode}: {ground.last_words()}")
    ground.settle(LEASE)
    ground.judge()
    ground.all_done()
    if len(ground.read("models")) != 2:
        raise Failed(f"{len(ground.read('models'))} models of two runs")
    return 1, ""


def sweeper_woken_beside_the_living(ground):
    """A sweeper has seen a worker stand still for a lease and is stopped before it acts. Then the worker beats again."""
    ground.run("submit")
    worker = ground.client("work", "beat.before:stop:2", tasks=1, beats=2, hold=2500, lease=LEASE)
    ground.stopped(worker)
    sweeper = ground.sweeper(LEASE, fault="take_back.before:stop")
    ground.stopped(sweeper)
    worker.send_signal(signal.SIGCONT)
    ground.until(lambda: len(ground.events("did", "beat", 1)) >= 2, 20, "the worker does not beat")
    sweeper.send_signal(signal.SIGCONT)
    if ground.wait(worker) != 0:
        raise Failed("a task was taken from the living by a sweeper that had slept")
    sweeper.terminate()
    ground.wait(sweeper)
    ground.settle(LEASE)
    ground.judge()
    ground.all_done()
    return 1, ""


def sweeper_woken_beside_a_successor(ground):
    """The same, but another sweeper has taken the task back, and the next worker stands where the first one stood."""
    ground.run("submit")
    ground.killed_at(ground.client("work", "started.after:kill", tasks=1, lease=LEASE), "started.after")
    sweeper = ground.sweeper(LEASE, fault="take_back.before:stop")
    ground.stopped(sweeper)
    other = ground.sweeper(LEASE)
    ground.until(lambda: ground.events("did", "take-back", 1), 20, "no other sweeper took its place")
    other.terminate()
    ground.wait(other)
    worker = ground.client("work", "beat.before:stop", tasks=1, lease=20000, until_empty=1)
    ground.stopped(worker)
    tried = len(ground.events("did", "take-back"))
    sweeper.send_signal(signal.SIGCONT)
    ground.until(lambda: len(ground.events("did", "take-back")) > tried, 20, "the woken sweeper did nothing")
    sweeper.terminate()
    ground.wait(sweeper)
    worker.send_signal(signal.SIGCONT)
    if ground.wait(worker) != 0:
        raise Failed("a task was taken from a successor by a sweeper that had slept")
    ground.settle(LEASE)
    ground.judge()
    ground.all_done()
    return 1, ""


def all_asleep(ground):
    """The whole machine sleeps for two leases, sweeper and workers; the sweeper is the first to wake. It has not seen what
    happened meanwhile, and takes nothing."""
    lease = 1500
    ground.run("submit", count=3)
    workers = [ground.client("work", "beat.before:stop:2", tasks=1, beats=2, lease=lease) for _ in range(3)]
    for worker in workers:
        ground.stopped(worker)
    sweeper = ground.sweeper(lease, fault="lead.before:stop:3")
    ground.stopped(sweeper)
    time.sleep(2 * lease / 1000)
    sweeper.send_signal(signal.SIGCONT)
    time.sleep(lease / 3000)
    for worker in workers:
        worker.send_signal(signal.SIGCONT)
    for worker in workers:
        if ground.wait(worker) != 0:
            raise Failed("a task was taken from the living after a sleep")
    if ground.events("did", "take-back", 1):
        raise Failed("a task was taken back after a sleep")
    ground.settle(lease, sweeper=sweeper)
    ground.judge()
    ground.all_done()
    return 3, ""


def different_leases(ground):
    """A runner with a long lease beats seldom, beside a sweeper with a short one: a task is given the lease of its claim."""
    ground.run("submit")
    worker = ground.client("work", "beat.before:delay:1:2500", tasks=1, beats=1, lease=30 * LEASE, claim_lease=30 * LEASE)
    sweeper = ground.sweeper(LEASE)
    if ground.wait(worker) != 0 or ground.events("did", "take-back", 1):
        raise Failed("a task was taken back before its claim's lease was over")
    ground.settle(LEASE, sweeper=sweeper)
    ground.judge()
    ground.all_done()
    return 1, ""


def stopped_with_the_lock(ground, each):
    """On SQLite one who is stopped inside a transaction holds the file: the others wait, and go on when it does."""
    for point in ["commit.before", "chunk.before", "files.after", "model.after", "transaction.before"] * each:
        ground.run("submit", prefix=f"{point.replace('.', '-')}-{next(ground.numbers)}", count=2)
        zombie = ground.client("work", f"{point}:stop", tasks=1, lease=20000, logs=0)
        ground.stopped(zombie)
        other = ground.client("work", tasks=1, lease=20000)
        time.sleep(0.3)
        if other.poll() is not None:
            raise Failed("another worker did not wait for the lock")
        zombie.send_signal(signal.SIGCONT)
        for process in (zombie, other):
            if ground.wait(process) != 0:
                raise Failed(f"a worker ended with {process.returncode}: {ground.last_words()}")
    ground.judge()
    ground.all_done()
    return 5 * each, "the others wait: the lock is the file's, not the protocol's"


def zombies(engine, each):
    count = each * sum(engine in engines for _, _, engines in POINTS)
    jobs = [("woken beside its successor", count, lambda g: woken_beside_successor(g, each)),
            ("woken after its successor's end", count, lambda g: woken_after_successor(g, each))]
    jobs.append(("a sweeper woken beside the living", 1, sweeper_woken_beside_the_living))
    jobs.append(("a sweeper woken beside a successor", 1, sweeper_woken_beside_a_successor))
    jobs.append(("all asleep, the sweeper wakes first", 3, all_asleep))
    jobs.append(("different leases", 1, different_leases))
    if engine == "mongodb":
        jobs.append(("woken behind its commit", 3 * each, lambda g: woken_after_commit(g, each)))
        for point in ("model.after", "published.before", "publish.before"):
            jobs.append((f"woken in the next run, {point}", 1, lambda g, p=point: woken_in_the_next_run(g, p)))
    else:
        jobs.append(("stopped inside a transaction", 5 * each, lambda g: stopped_with_the_lock(g, each)))
    return jobs
