# SPDX-License-Identifier: Apache-2.0
"""Wall clocks that are an hour ahead or behind, and stepped while the processes run."""
import time

from ground import Failed, Server

LEASE = 1500
HOUR = 3600 * 1000


def set_clock(environment, ms):
    with open(environment["TORTURE_CLOCK"], "w") as file:
        file.write(str(ms))


def shifted(ground, ms):
    """A process's environment, and its clock."""
    clock = ground.clock(ms)
    return {**ground.environment(), **clock}, clock


def step_all(ground, clocks, seconds):
    end, steps = time.monotonic() + seconds, 0
    while time.monotonic() < end:
        for clock in clocks:
            set_clock(clock, ground.random.choice([-HOUR, -60000, 0, 60000, HOUR]))
            steps += 1
        time.sleep(0.25)
    for clock in clocks:
        set_clock(clock, 0)
    return steps


def stepping(ground, seconds):
    """Every process has a clock of its own (on SQLite that is the server's time, too); all are stepped all the time. The
    living keep their tasks, the dead lose theirs, and only these."""
    workers, clocks = 4, []
    ground.run("submit", count=3 * workers)
    dead = []
    for i in range(3):
        environment, clock = shifted(ground, ground.random.choice([-HOUR, HOUR]))
        dead.append(ground.client("work", tasks=1, lease=LEASE, environment={**environment, "TL_HUB_FAULT": "beat.after:kill"}))
    for process in dead:
        ground.killed_at(process, "beat.after")
    # Long work, so that every worker is seen at it by several rounds of the sweepers.
    living = []
    for ms in (HOUR, -HOUR, 0, HOUR)[:workers]:
        environment, clock = shifted(ground, ms)
        clocks.append(clock)
        living.append(ground.client("work", tasks=1, hold=int(seconds * 1000), lease=LEASE, environment=environment))
    sweepers = []
    for ms in (HOUR, -HOUR):
        environment, clock = shifted(ground, ms)
        clocks.append(clock)
        sweepers.append(ground.client("sweep", lease=LEASE, environment=environment))
    if ground.engine == "sqlite":
        ground.until(lambda: sum(t["state"] == "running" for t in ground.read("tasks")) >= len(living), 20, "not all work")
        must_have_been_off(ground)
    steps = step_all(ground, clocks, seconds)
    for process in living:
        if ground.wait(process) != 0:
            raise Failed(f"a living worker lost its task: {ground.last_words()}")
    # A sweeper on a busy machine has gaps in its contact, and begins its watch anew after each.
    ground.until(lambda: len(ground.events("did", "take-back", 1)) >= len(dead), 60, "the dead keep their tasks")
    taken = len(ground.events("did", "take-back", 1))
    if taken != len(dead):
        raise Failed(f"{taken} tasks were taken back; {len(dead)} workers had died")
    for sweeper in sweepers:
        sweeper.terminate()
        ground.wait(sweeper)
    finish(ground)
    return len(dead) + len(living), f"{steps} steps of up to an hour; {taken} taken back, all of the dead"


def must_have_been_off(ground):
    """The stamps for people show it: else nothing was tried here."""
    now = time.time() * 1000
    if not any(abs(task.get("claimed_at", now) - now) > HOUR / 2 for task in ground.read("tasks")):
        raise Failed("no clock was in fact shifted")


def finish(ground):
    """A delay counts by the server's time, whatever that says: one whose clock is far ahead ends all that are left."""
    environment, _ = shifted(ground, 2 * HOUR)
    sweeper = ground.client("sweep", lease=LEASE, environment=environment)
    ground.settle(LEASE, sweeper=sweeper)
    ground.judge()
    ground.all_done()


def server_stepping(ground, seconds):
    """A server whose clock is stepped, as by failovers to servers with other clocks."""
    server = Server(ground.folder / "server")
    clock = ground.clock(HOUR)
    if not server.is_ours() or not server.start(clock):
        return 0, "a named server's clock is not ours to set"
    try:
        ground.uri = f"{server.uri}/clocks"
        ground.run("init")
        ground.run("submit", count=12)
        for _ in range(3):
            ground.killed_at(ground.client("work", "beat.after:kill", tasks=1, lease=LEASE), "beat.after")
        living = [ground.client("work", tasks=1, hold=int(seconds * 1000), lease=LEASE) for _ in range(4)]
        sweepers = [ground.client("sweep", lease=LEASE) for _ in range(2)]
        must_have_been_off(ground)
        steps = step_all(ground, [clock], seconds)
        set_clock(clock, 2 * HOUR)
        for process in living:
            if ground.wait(process) != 0:
                raise Failed(f"a living worker lost its task: {ground.last_words()}")
        ground.until(lambda: len(ground.events("did", "take-back", 1)) >= 3, 60, "the dead keep their tasks")
        taken = len(ground.events("did", "take-back", 1))
        if taken != 3:
            raise Failed(f"{taken} tasks were taken back; 3 workers had died")
        for sweeper in sweepers:
            sweeper.terminate()
            ground.wait(sweeper)
        ground.settle(LEASE)
        ground.judge()
        ground.all_done()
    finally:
        server.stop()
    return 7, f"{steps} steps of up to an hour; {taken} taken back, all of the dead"


def clocks(engine, seconds):
    """[(name, runs, make, function)]"""
    jobs = [("every process's stepped", 7, True, lambda g: stepping(g, seconds))]
    if engine == "mongodb":
        jobs.append(("the server's stepped", 7, False, lambda g: server_stepping(g, seconds)))
    return jobs
