# SPDX-License-Identifier: Apache-2.0
"""SIGKILL at every named point, and writes or replies that are lost there."""
import collections

from ground import Failed

BOTH, SQLITE, MONGODB = ("sqlite", "mongodb"), ("sqlite",), ("mongodb",)
LEASE = 600

# Points that a worker passes: the point, how to work so that it is passed, where, and which passes.
WORK = [
    ("claim.before", {}, BOTH, 1), ("claim.after", {}, BOTH, 1),
    ("started.before", {}, BOTH, 1), ("started.after", {}, BOTH, 1),
    ("beat.before", {"beats": 3}, BOTH, 3), ("beat.after", {"beats": 3}, BOTH, 3),
    ("checkpoint.before", {"checkpoints": 3}, BOTH, 3), ("checkpoint.after", {"checkpoints": 3}, BOTH, 3),
    ("epoch.before", {"epochs": 2}, BOTH, 2), ("epoch.after", {"epochs": 2}, BOTH, 2),
    ("commit.after", {"epochs": 2}, BOTH, 3), ("model.before", {"epochs": 2}, BOTH, 3),
    ("published.before", {"epochs": 2}, MONGODB, 3), ("upload_done.before", {"epochs": 2}, MONGODB, 3),
    ("logs.before", {}, BOTH, 2), ("logs.after", {}, BOTH, 2),
    ("finish.before", {}, BOTH, 1), ("batch.before", {}, BOTH, 1),
    ("announce.before", {}, MONGODB, 1), ("announce.after", {}, MONGODB, 1),
    ("announce.before", {"end": "large"}, SQLITE, 1), ("announce.after", {"end": "large"}, SQLITE, 1),
    ("chunk.before", {"blob": 600000}, BOTH, 3), ("chunk.after", {"blob": 600000}, BOTH, 3),
    ("chunk.after", {"end": "large"}, BOTH, 33),
    ("verify.before", {"blob": 300000}, BOTH, 1), ("verify.after", {"blob": 300000}, BOTH, 1),
    ("files.before", {}, BOTH, 1), ("files.after", {}, BOTH, 1),
    ("files.after", {"end": "large"}, BOTH, 1),
    ("commit.before", {}, BOTH, 1), ("commit.after", {}, BOTH, 1),
    ("commit.after", {"end": "large"}, BOTH, 1),
    ("model.before", {}, BOTH, 1), ("model.after", {}, BOTH, 1),
    ("published.before", {}, MONGODB, 1), ("published.after", {}, MONGODB, 1),
    ("upload_done.before", {}, MONGODB, 1), ("upload_done.after", {}, MONGODB, 1),
    ("upload_done.before", {"end": "large"}, SQLITE, 1), ("upload_done.after", {"end": "large"}, SQLITE, 1),
    ("transaction.before", {"logs": 0}, SQLITE, 1), ("transaction.after", {"logs": 0}, SQLITE, 1),
    ("finish.after", {}, BOTH, 1),
    ("release.before", {"end": "release"}, BOTH, 1), ("release.after", {"end": "release"}, BOTH, 1),
    ("crash.before", {"end": "crash"}, BOTH, 1), ("crash.write", {"end": "crash"}, BOTH, 1),
    ("crash.after", {"end": "crash"}, BOTH, 1),
    ("failed.before", {"end": "fail"}, BOTH, 1), ("failed.after", {"end": "fail"}, BOTH, 1),
    ("cancelled.before", {"end": "cancel"}, BOTH, 1), ("cancelled.after", {"end": "cancel"}, BOTH, 1),
]
# A kill of these costs 8 MiB each.
LARGE = 5


def title(point, work):
    return point + (" (large)" if work.get("end") == "large" else " (epochs)" if "epochs" in work else "")


def in_turns(what, start, end, at_once=4):
    """start(one) gives what end() looks at; at_once of them run beside each other."""
    running = collections.deque()
    for one in what:
        running.append(start(one))
        if len(running) == at_once:
            end(running.popleft())
    while running:
        end(running.popleft())


def kill_workers(ground, points, count):
    """count workers die at each point, each with a task; others finish what they left."""
    victims = [(point, work, 1 + i % passes) for point, work, passes in points for i in range(count)]
    # The client does not beat while it uploads 8 MiB.
    lease = LEASE * 5 if any(work.get("end") == "large" for _, work, _ in points) else LEASE
    ground.run("submit", count=len(victims) + 5)
    sweeper = ground.sweeper(lease)
    in_turns(victims,
             lambda v: (ground.client("work", f"{v[0]}:kill:{v[2]}", tasks=1, lease=lease, **v[1]), v[0]),
             lambda started: ground.killed_at(*started))
    ground.settle(lease, sweeper=sweeper)
    ground.judge()
    may_end = {"done"} | {{"failed.after": "failed", "cancelled.after": "cancelled"}.get(p, "done") for p, _, _ in points}
    wrong = {t: s for t, s in ground.states().items() if s not in may_end}
    if wrong:
        raise Failed(f"not done: {wrong}")
    return len(victims), slowest_take_back(ground, lease)


def slowest_take_back(ground, lease):
    """How long after a death its task was taken back: for the table only."""
    held = {}
    for path in ground.histories.iterdir():
        last_claim = None
        for line in path.read_text().splitlines():
            words = line.split()
            if words[2:4] == ["did", "claim"] and words[6] == "1":
                last_claim = words[5]
            elif words[2] == "fault" and words[4] == "kill" and last_claim:
                held[last_claim] = int(words[0])
    waits = [time - held[words[5]] for time, words in ground.events("did", "take-back", 1) if words[5] in held]
    return f"taken back at most {max(waits) / 1e6:.1f} s after the death (lease {lease / 1000:g} s)" if waits else ""


# ---- others than workers: each function has count of them die at each point ----

def each(points, count):
    return [(point, i, f"p{number}") for number, (point, i) in enumerate((p, i) for p in points for i in range(count))]


def end_well(ground, runs, lease=LEASE):
    ground.settle(lease)
    ground.judge()
    wrong = {t: s for t, s in ground.states().items() if s not in ("done", "cancelled", "stopped")}
    if wrong:
        raise Failed(f"not done: {wrong}")
    return len(runs), ""


def kill_submitter(ground, points, count):
    runs = each(points, count)
    for point, i, name in runs:
        ground.killed_at(ground.client("submit", f"{point}:kill:{1 + i % 3}", count=3, prefix=name), point)
        ground.run("submit", count=3, prefix=name)
    return end_well(ground, runs)


def leave_running(ground, name, fault):
    """One task whose worker is dead."""
    ground.run("submit", prefix=name)
    ground.killed_at(ground.client("work", f"{fault}:kill", tasks=1, lease=300), fault)


def kill_sweeper(ground, points, count):
    """The elected sweeper dies at its work; the next one does it."""
    lease, runs = 600, each(points, count)
    for point, _, name in runs:
        leave_running(ground, name, "beat.after" if point.startswith("take_back") else "commit.after")
        ground.killed_at(ground.sweeper(lease, fault=f"{point}:kill"), point)
    return end_well(ground, runs, lease)


def kill_leader(ground, points, count):
    """At its first and second word as the leader."""
    lease, runs = 600, each(points, count)
    for point, i, name in runs:
        ground.killed_at(ground.sweeper(lease, fault=f"{point}:kill:{1 + i % 2}"), point)
        leave_running(ground, name, "beat.after")
    return end_well(ground, runs, lease)


def kill_promoter(ground, points, count):
    runs = each(points, count)
    for point, _, name in runs:
        ground.run("submit", prefix=f"{name}a")
        if point.startswith("promote_waiting"):
            ground.run("submit", prefix=f"{name}b", after=f"{name}a")
            ground.run("work", lease=LEASE, until_empty=1)
            ground.run("submit", prefix=f"{name}c", after=f"{name}a")
        else:
            ground.run("work", tasks=1, lease=LEASE, end="crash")
        ground.killed_at(ground.client("work", f"{point}:kill", until_empty=1, lease=LEASE), point)
    return end_well(ground, runs)


def kill_stander(ground, points, count):
    """Whoever starts the next task of a standing one dies at it: it is started once."""
    runs = each(points, count)
    for point, _, name in runs:
        ground.run("submit", prefix=name, every=1000)
        ground.killed_at(ground.client("work", f"{point}:kill", until_empty=1, lease=LEASE), point)
        ground.run("work", tasks=1, until_empty=1, lease=LEASE)
        ground.run("cancel", filter='{"_id":"%s-0"}' % name)
        numbers = sorted(t["standing_number"] for t in ground.read("tasks") if t.get("standing_of") == f"{name}-0")
        if not numbers or numbers != list(range(1, len(numbers) + 1)):
            raise Failed(f"{name}-0 started {numbers}")
    return end_well(ground, runs)


def kill_saver(ground, points, count):
    """Datasets that share parts, and models without a task."""
    runs = each(points, count)
    for number, (point, i, name) in enumerate(runs):
        verb = "save-model" if point.startswith("save_model") else "save"
        options = {"name": f"d{number % 3}", "seed": number} if verb == "save" else {"name": name}
        if point.startswith("chunk"):
            options["bytes"] = 600000
        ground.killed_at(ground.client(verb, f"{point}:kill:{1 + i % 2 if point.startswith('chunk') else 1}", **options), point)
        if number % 2:
            ground.run(verb, **options)
    return end_well(ground, runs)


def make_garbage(ground, name):
    """Blobs that nothing points to any more, an upload that was given up, and a tombstone."""
    ground.run("save", name=name, seed=len(name))
    ground.run("delete-datasets", filter='{"name":"%s"}' % name)
    ground.run("submit", prefix=name)
    ground.run("work", tasks=1, lease=LEASE)
    ground.run("delete-models", filter='{"task":"%s-0"}' % name)
    ground.run("restart", filter='{"_id":"%s-0"}' % name)


def kill_collector(ground, points, count):
    runs = each(points, count)
    for point, _, name in runs:
        make_garbage(ground, name)
        if point == "gc_upload.before":
            ground.killed_at(ground.client("save", "files.before:kill", name=f"{name}u"), "files.before")
        lease = 900 if point == "gc_upload.before" else 50  # that long it must see the announcement stand still
        ground.killed_at(ground.client("gc", f"{point}:kill", lease=lease, rounds=3), point)
    return end_well(ground, runs)


def kill_user(ground, points, count):
    """A user's request is cut short: asked again, it comes to the same."""
    runs = each(points, count)
    for point, _, name in runs:
        ground.run("submit", prefix=name, count=2)
        if point == "bury.before":
            ground.run("work", tasks=2, lease=LEASE)
            verb, key = "delete-models", "task"
        else:
            verb, key = ("delete-tasks" if point.startswith("delete_task") else "cancel"), "_id"
        options = {"filter": '{"%s":{"$in":["%s-0","%s-1"]}}' % (key, name, name)}
        ground.killed_at(ground.client(verb, f"{point}:kill", **options), point)
        ground.run(verb, **options)
    return end_well(ground, runs)


def kill_parker(ground, points, count):
    """A task comes to a rung, is promoted, or ends there, and whoever says so dies at it."""
    runs = each(points, count)
    for point, _, name in runs:
        this = {"filter": '{"_id":"%s-0"}' % name}
        ground.run("submit", prefix=name)
        if point.startswith("park"):
            ground.killed_at(ground.client("work", f"{point}:kill", tasks=1, lease=LEASE, end="park", checkpoints=1), point)
        else:
            ground.run("work", tasks=1, lease=LEASE, end="park", checkpoints=1)
            ground.killed_at(ground.client("promote" if point.startswith("unpark") else "stop", f"{point}:kill", **this), point)
        if point.startswith("end_parked"):
            ground.run("stop", **this)
            continue
        ground.run("promote", **this)
        if point != "park.before":
            ground.run("work", tasks=1, lease=LEASE, end="park", checkpoints=1)  # the second rung: it went on from the first
            if [t["rungs"]["count"] for t in ground.read("tasks") if t["_id"] == f"{name}-0"] != [2]:
                raise Failed(f"{name}-0 has not come to its second rung")
            ground.run("promote", **this)
            ground.run("work", tasks=1, lease=LEASE)
    return end_well(ground, runs)


OTHERS = [
    (kill_submitter, BOTH, ["create.before", "create.after"]),
    (kill_sweeper, BOTH, ["take_back.before", "take_back.after"]),
    (kill_sweeper, MONGODB, ["roll_forward.before", "publish.before", "publish.after"]),
    (kill_leader, BOTH, ["lead.before"]),
    (kill_promoter, BOTH, ["promote_delayed.before", "promote_delayed.after", "promote_waiting.before",
                           "promote_waiting.after"]),
    (kill_stander, BOTH, ["standing_create.before", "standing_create.after"]),
    (kill_saver, BOTH, ["announce.before", "announce.after", "chunk.after", "files.before", "files.after", "dataset.before",
                        "dataset.after", "keep.before", "keep.after", "session_done.before", "save_model.before",
                        "save_model.after"]),
    (kill_collector, BOTH, ["gc_condemn.before", "gc_condemn.after", "gc_pointers.before", "gc_pointers.after",
                            "gc_files.before", "gc_files.after", "gc_chunks.before", "gc_chunks.after", "gc_upload.before"]),
    (kill_parker, BOTH, ["park.before", "park.after", "unpark.before", "unpark.after", "end_parked.before",
                         "end_parked.after"]),
    (kill_user, BOTH, ["bury.before", "request.before", "request.after", "delete_task.before", "delete_task.after"]),
]


def long_kills(engine, runs):
    """[(name, runs, function(ground) → (runs, note))] for each point."""
    jobs = []
    for point, work, engines, passes in WORK:
        if engine in engines:
            count = min(runs, LARGE) if work.get("end") == "large" else runs
            jobs.append((title(point, work), count, lambda g, a=[(point, work, passes)], c=count: kill_workers(g, a, c)))
    for function, engines, points in OTHERS:
        for point in points:
            if engine in engines:
                jobs.append((f"{point} ({who(function)})", runs, lambda g, f=function, p=point: f(g, [p], runs)))
    return jobs


def who(function):
    return function.__name__.split("_")[1]


def short_kills(engine):
    """Every point once, all of one kind on one hub."""
    work = [(point, options, passes) for point, options, engines, passes in WORK if engine in engines]
    jobs = []
    for name, wanted in (("worker", False), ("worker with large weights", True)):
        some = [w for w in work if (w[1].get("end") == "large") == wanted]
        jobs.append((f"{len(some)} points of a {name}", len(some), lambda g, p=some: kill_workers(g, p, 1)))
    for function, engines, points in OTHERS:
        if engine in engines:
            jobs.append((f"{len(points)} points of a {who(function)}", len(points),
                         lambda g, f=function, p=points: f(g, p, 1)))
    return jobs


# ---- lost writes and replies ----

ACTIONS = {"lose": "applied, its reply lost", "cut": "lost", "full": "refused, disk full", "away": "refused, hub away"}
LOSSES = ["claim.before", "started.before", "beat.before", "checkpoint.before", "logs.before", "batch.before", "announce.before", "chunk.before",
          "files.before", "commit.before", "model.before", "published.before", "upload_done.before", "release.before",
          "crash.write", "failed.before", "cancelled.before", "park.before"]
ENDS = {"release.before": "release", "crash.write": "crash", "failed.before": "fail", "cancelled.before": "cancel",
        "park.before": "park"}


def losses(ground, action, runs):
    """At each point a write is cut, or its reply is lost, or the disk is full: the worker finds out what is true and
    goes on, and nobody has to take its task back."""
    count = 0
    sweeper = ground.sweeper(5000)
    for point in LOSSES:
        if ground.engine == "sqlite" and point in ("announce.before", "published.before", "upload_done.before"):
            continue
        work = {"end": ENDS.get(point, "finish"), "blob": 300000 if point == "chunk.before" else 2000,
                "checkpoints": int(point == "checkpoint.before")}
        for i in range(runs):
            ground.run("submit", prefix=f"{point.replace('.', '-')}-{i}")
            process = ground.client("work", f"{point}:{action}:1", tasks=1, lease=5000, **work)
            status = ground.wait(process)
            if not ground.was_at(process.pid, point):
                raise Failed(f"{point} was never passed: {ground.last_words()}")
            if status not in (0, 6):
                raise Failed(f"{point}:{action}: the worker ended with {status}: {ground.last_words()}")
            count += 1
    sweeper.terminate()
    ground.wait(sweeper)
    ground.settle(LEASE)
    ground.judge()
    wrong = {t: s for t, s in ground.states().items() if s not in ("done", "failed", "cancelled", "parked")}
    if wrong:
        raise Failed(f"not done: {wrong}")
    taken = len(ground.events("did", "take-back", 1))
    if taken:
        raise Failed(f"{taken} tasks had to be taken back")
    return count, ""
