# SPDX-License-Identifier: Apache-2.0
"""Many claimers on empty tasks: none lost, none twice, none starved."""
import statistics
import time

from ground import Failed

WORST_MS = 5000


def claimers(ground, processes, tasks, judge_times):
    ground.run("submit", count=tasks, many=1, seconds=120)
    # All begin together, when even the last one is there.
    start_ms = int(time.clock_gettime(time.CLOCK_BOOTTIME) * 1000) + 500 + 30 * processes
    outputs = [ground.folder / f"claimer-{i}" for i in range(processes)]
    client = ground.world.build / "tests" / "torture_client"
    running = [ground.start(client, "work", ground.uri, "lease=60000", "beats=0", "logs=0", "blob=0", "figures=1", "leave_idle=1",
                            f"start_at={start_ms}", output=output) for output in outputs]
    for process in running:
        if ground.wait(process, 1200) not in (0, 3):
            raise Failed(f"a claimer ended with {process.returncode}")
    figures = [tuple(map(int, output.read_text().split())) for output in outputs]
    done, waits = [d for d, _, _ in figures], [w for _, w, _ in figures]
    seconds = (max(end for _, _, end in figures) - start_ms) / 1000
    if sum(done) != tasks:
        raise Failed(f"{sum(done)} finishes of {tasks} tasks")
    ground.judge(collect=False)
    ground.all_done()
    share = min(done) / statistics.mean(done)
    note = (f"{tasks / seconds:.0f} tasks/s, worst wait {max(waits) / 1000:.2f} s, the slowest did {share:.2f} of the mean "
            f"(fewest {min(done)}, most {max(done)})")
    if judge_times and (share < 0.25 or max(waits) > WORST_MS):
        raise Failed(f"starved: {note}")
    return tasks, note


def many(engine, short):
    """[(name, runs, function)]"""
    processes, tasks = (8, 400) if short else (64, 20000) if engine == "sqlite" else (200, 5000)
    return [(f"{processes} on {tasks} empty tasks", tasks, lambda g: claimers(g, processes, tasks, not short))]
