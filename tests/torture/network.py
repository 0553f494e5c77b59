# SPDX-License-Identifier: Apache-2.0
"""A hub that cannot be reached, or whose replies are lost: through the misbehaving proxy, with a server that is stopped and
started again, and with a locked file."""
import sqlite3
import time

from ground import Failed, Proxy, Server

LEASE = 900


def through(ground):
    proxy = Proxy(ground.server.uri)
    return proxy, proxy.uri(ground.uri)


def dropped_by(proxy):
    """How many requests or replies it has lost or cut so far."""
    return int(proxy.tell("count").split()[1])


def storm(ground, seconds):
    """Workers behind a proxy that loses requests and replies, delays, resets, closes and swallows at random."""
    proxy, uri = through(ground)
    choose, told = ground.random, 0
    try:
        ground.run("submit", count=int(12 * seconds))
        sweeper = ground.sweeper(LEASE)
        workers = [ground.client("work", uri=uri, lease=LEASE, checkpoints=1, until_empty=1, seconds=int(seconds) + 10)
                   for _ in range(4)]
        end = time.monotonic() + seconds
        while time.monotonic() < end:
            told += 1
            kind = choose.randrange(8)
            if kind < 4:
                what = choose.choice(["findAndModify", "update", "insert", "blobs.chunks", "delete", "models", "find"])
                proxy.tell(f"{'lose' if kind % 2 else 'cut'} {what} {choose.randint(1, 4)}")
                time.sleep(choose.uniform(0.02, 0.3))
            elif kind == 4:
                proxy.tell(f"delay {choose.randint(10, 200)}")
                time.sleep(choose.uniform(0.1, 0.4))
                proxy.tell("delay 0")
            elif kind == 5:
                proxy.tell("reset")
            elif kind == 6:
                proxy.tell("refuse")
                time.sleep(choose.uniform(0.05, 0.5))
            else:
                proxy.tell("black-hole")
                time.sleep(choose.uniform(0.05, 0.5))
                proxy.tell("reset")
            proxy.tell("forward")
        lost = dropped_by(proxy)
        if lost == 0:
            raise Failed("the storm has met nothing")
        for worker in workers:
            if ground.wait(worker, seconds + 60) not in (0, 3, 6):
                raise Failed(f"a worker ended with {worker.returncode}: {ground.last_words()}")
        ground.settle(LEASE, sweeper=sweeper)
        ground.judge()
        ground.all_done()
    finally:
        proxy.close()
    return told, f"{lost} requests or replies lost"


def lost_on_the_wire(ground, runs):
    """One worker, one task, and the first few messages of a kind lost: it finds out what is true by itself."""
    proxy, uri = through(ground)
    count = 0
    try:
        for i in range(runs):
            for kind in ("lose", "cut"):
                for what in ("findAndModify", "update", "insert", "uploads", "models"):
                    ground.run("submit", prefix=f"{kind}-{what}-{i}")
                    before = dropped_by(proxy)
                    proxy.tell(f"{kind} {what} {1 + i % 3}")
                    worker = ground.client("work", uri=uri, tasks=1, lease=30000, checkpoints=1)
                    if ground.wait(worker) != 0:
                        raise Failed(f"{kind} {what}: it ended with {worker.returncode}: {ground.last_words()}")
                    proxy.tell("forward")
                    if dropped_by(proxy) == before:
                        raise Failed(f"{kind} {what}: it has met nothing")
                    count += 1
        dropped = dropped_by(proxy)
    finally:
        proxy.close()
    ground.settle(LEASE)
    ground.judge()
    ground.all_done()
    if ground.events("did", "take-back", 1):
        raise Failed("a task had to be taken back")
    return count, f"{dropped} messages lost"


def away(ground, outage, lease, leave, come_back):
    """The hub is away while all live. An outage that is shorter than two thirds of the lease changes nothing; a longer one
    has the workers release their tasks when it is back. Nothing is taken from the living."""
    workers = 4
    ground.run("submit", count=workers)
    sweeper_uri = leave.uri
    sweeper = ground.client("sweep", uri=sweeper_uri, lease=lease)
    living = [ground.client("work", uri=sweeper_uri, tasks=1, lease=lease, hold=int(outage * 1000) + 2500)
              for _ in range(workers)]
    ground.until(lambda: sum(t["state"] == "running" for t in ground.read("tasks")) == workers, 20, "not all work")
    time.sleep(0.5)
    leave()
    time.sleep(outage)
    come_back()
    for worker in living:
        if ground.wait(worker) != 0:
            raise Failed(f"a worker ended with {worker.returncode}: {ground.last_words()}")
    released = len(ground.events("did", "release", 1))
    taken = len(ground.events("did", "take-back", 1))
    if taken:
        raise Failed(f"{taken} tasks were taken from the living")
    expected = {0} if outage < lease * 2 / 3 / 1000 else {workers} if ground.engine == "mongodb" else {0, workers}
    if released not in expected:  # on SQLite a write waits for the lock, and then finds that nobody had the task
        raise Failed(f"{released} of {workers} tasks were released after {outage:g} s; the lease is {lease / 1000:g} s")
    if any(t.get("crashes") or t.get("lost") for t in ground.read("tasks")):
        raise Failed("a crash was counted")
    ground.settle(LEASE, sweeper=sweeper)
    ground.judge()
    ground.all_done()
    return workers, f"away {outage:g} s, lease {lease / 1000:g} s: {released} released, none taken back"


def away_behind_proxy(ground, mode, outage, lease):
    proxy, uri = through(ground)

    def leave():
        proxy.tell(mode)

    def come_back():
        proxy.tell("reset" if mode == "black-hole" else "forward")
    leave.uri = uri
    try:
        return away(ground, outage, lease, leave, come_back)
    finally:
        proxy.close()


def away_behind_lock(ground, outage, lease):
    """On SQLite: another program has the file for itself."""
    other = sqlite3.connect(ground.uri[len("sqlite:"):], isolation_level=None, timeout=30)

    def leave():
        other.execute("BEGIN EXCLUSIVE")

    def come_back():
        other.execute("COMMIT")
    leave.uri = ground.uri
    try:
        return away(ground, outage, lease, leave, come_back)
    finally:
        other.close()


def restarted(ground, times):
    """A server with its data on disk is stopped and started again, among claims, beats and uploads of many chunks."""
    server = Server(ground.folder / "server", persist=True)
    if not server.is_ours() or not server.start():
        return 0, "a named server is not ours to stop"
    try:
        ground.uri = f"{server.uri}/restarted?serverSelectionTimeoutMS=2000&socketTimeoutMS=3000"
        ground.run("init")
        ground.run("submit", count=times * 12)
        sweeper = ground.sweeper(LEASE)
        workers = [ground.client("work", lease=LEASE, until_empty=1, checkpoints=1, blob=600000, seconds=60 + 10 * times)
                   for _ in range(3)]
        for _ in range(times):
            before = len(ground.events("did", "finish", 1))
            ground.until(lambda: len(ground.events("did", "finish", 1)) > before + 1, 30, "the work does not go on")
            time.sleep(ground.random.uniform(0, 0.3))
            server.stop()
            time.sleep(ground.random.uniform(0.1, 1.5))
            server.start()
        for worker in workers:
            if ground.wait(worker, 120) not in (0, 3, 6):
                raise Failed(f"a worker ended with {worker.returncode}: {ground.last_words()}")
        ground.settle(LEASE, sweeper=sweeper)
        ground.judge()
        ground.all_done()
    finally:
        server.stop()
    return times, ""


def network(engine, short):
    """[(name, runs, make, function)]"""
    lease = 2400 if short else 6000
    long = lease / 1000 * 2
    # The driver itself waits for 5 s before it asks a server again that it could not reach.
    patient = 15000 if short else 20000
    if engine == "sqlite":
        return [("the file is locked for less than the lease", 4, True, lambda g: away_behind_lock(g, 1.0, lease)),
                ("the file is locked for twice the lease", 4, True, lambda g: away_behind_lock(g, long, lease))]
    return [("a storm of lost, late and cut messages", 1, True, lambda g: storm(g, 4 if short else 60)),
            ("messages lost on the wire", 1, True, lambda g: lost_on_the_wire(g, 1 if short else 10)),
            ("away for less than the lease", 4, True, lambda g: away_behind_proxy(g, "refuse", 2.0, patient)),
            ("the server is stopped and started", 1 if short else 8, False, lambda g: restarted(g, 1 if short else 8)),
            ("a black hole for twice the lease", 4, True, lambda g: away_behind_proxy(g, "black-hole", long, lease)),
            ("away for twice the lease", 4, True, lambda g: away_behind_proxy(g, "refuse", long, lease))][:5 if short else 6]
