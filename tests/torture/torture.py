#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
"""Kills, stops, cuts off and confuses clients of a hub, on both engines, and checks what is left.

usage: torture.py BUILD [--short] [--seed N] [--minutes N] [--engine sqlite|mongodb] [--only WORD[,WORD]]
                  [--jobs N] [--report FILE] [--keep] [--list]

Prints its seed and one line for each fault; then a table, which --report writes as markdown. The long form runs until
it is through, or begins nothing new after --minutes. What failed keeps its folder, named at the end, and the exit
status is 1. --only runs the faults whose names contain one of the words. --jobs runs so many faults beside each other.
--fail-fast stops at the first failure.
"""
import argparse
import concurrent.futures
import os
import pathlib
import random
import shutil
import sys
import tempfile
import time
import traceback

import matrix
from ground import Failed, Ground, Server, World


class Row:
    def __init__(self, group, name, engine):
        self.group, self.name, self.engine = group, name, engine
        self.runs = self.passed = 0
        self.note = ""
        self.seconds = 0.0


def run_one(world, fault, row):
    start = time.monotonic()
    ground = None
    try:
        ground = Ground(world, row.engine, f"{fault.group}-{fault.name}".replace(" ", "-").replace("(", "").replace(")", ""),
                        make=fault.make)
        runs, row.note = fault.run(ground)
        row.runs += runs
        row.passed += runs
        ground.leave(world.keep)
    except Exception as error:  # a scenario that breaks is a failed one, whatever broke
        row.runs += fault.runs
        row.note = f"FAILED: {error}" if isinstance(error, (Failed, OSError)) else \
            f"FAILED: {''.join(traceback.format_exception(error))[-1500:]}"
        if ground:
            row.note += f" [{ground.folder}]"
            ground.leave(True)
        world.failed = True
    row.seconds += time.monotonic() - start


def table(rows, seed, seconds):
    lines = ["| fault | engine | runs | passed | notes |", "| --- | --- | ---: | ---: | --- |"]
    for row in rows:
        lines.append(f"| {row.group}: {row.name} | {row.engine} | {row.runs} | {row.passed} | {row.note} |")
    total, passed = sum(r.runs for r in rows), sum(r.passed for r in rows)
    lines.append(f"| all | | {total} | {passed} | seed {seed}, {seconds:.0f} s |")
    return "\n".join(lines) + "\n"


def main():
    parser = argparse.ArgumentParser(usage=__doc__)
    parser.add_argument("build", type=pathlib.Path)
    parser.add_argument("--short", action="store_true")
    parser.add_argument("--seed", type=int, default=int(time.time()) % 1000000)
    parser.add_argument("--minutes", type=float, default=0)
    parser.add_argument("--engine", choices=["sqlite", "mongodb"])
    parser.add_argument("--only", default="")
    parser.add_argument("--report", type=pathlib.Path)
    parser.add_argument("--jobs", type=int, default=1)
    parser.add_argument("--fail-fast", action="store_true")
    parser.add_argument("--keep", action="store_true")
    parser.add_argument("--list", action="store_true")
    given = parser.parse_args()
    build = given.build.resolve()
    if not (build / "tests" / "torture_client").exists():
        print(f"torture: {build} has no tests/torture_client: configure it with -DTL_HUB_FAULTS=ON", file=sys.stderr)
        return 2
    words = [w for w in given.only.split(",") if w]
    faults = [f for f in matrix.faults(given.short) if (not given.engine or f.engine == given.engine)
              and (not words or any(w in f"{f.group}: {f.name}" for w in words))]
    if given.list:
        print("\n".join(f"{f.group}: {f.name} [{f.engine}]" for f in faults))
        return 0
    if not faults:
        print("torture: no fault has such a name", file=sys.stderr)
        return 2
    print(f"torture: seed {given.seed}", flush=True)
    random.seed(given.seed)
    folder = pathlib.Path(tempfile.mkdtemp(prefix="tl_hub-torture-"))
    server = Server(folder / "server")
    world = World(build, folder, given.seed, server)
    world.keep, world.failed, world.short = given.keep, False, given.short
    started, rows, status = time.monotonic(), [], 0
    try:
        if any(f.engine == "mongodb" for f in faults) and not server.start():
            print("SKIPPED: every fault on MongoDB, for no server can be had", file=sys.stderr)
            status = 1 if os.environ.get("CI") else 77
            faults = [f for f in faults if f.engine != "mongodb"]
        def one(fault):
            row = Row(fault.group, fault.name, fault.engine)
            late = given.minutes and time.monotonic() - started > given.minutes * 60
            if late or (given.fail_fast and world.failed):
                row.note = "not run: out of time" if late else "not run: another failed"
                return row
            run_one(world, fault, row)
            print(f"{'ok    ' if row.passed == row.runs else 'FAILED'} {row.group}: {row.name} [{row.engine}] "
                  f"{row.passed}/{row.runs} {row.seconds:.1f} s {row.note}", flush=True)
            return row
        with concurrent.futures.ThreadPoolExecutor(given.jobs) as pool:
            rows = list(pool.map(one, [f for f in faults if not f.alone]))
        rows += [one(f) for f in faults if f.alone]
    finally:
        if server.uri and server.is_ours():
            server.stop()
    text = table(rows, given.seed, time.monotonic() - started)
    print("\n" + text)
    if given.report:
        given.report.parent.mkdir(parents=True, exist_ok=True)
        given.report.write_text(text)
    if world.failed:
        print(f"torture: FAILED; seed {given.seed}, the folders are kept under {folder}", file=sys.stderr)
        return 1
    if not given.keep:
        shutil.rmtree(folder, ignore_errors=True)
    return status


if __name__ == "__main__":
    sys.exit(main())
