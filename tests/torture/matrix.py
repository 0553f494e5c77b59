# SPDX-License-Identifier: Apache-2.0
"""Which faults there are: the long form, and the short one that runs with the ordinary tests."""
import dataclasses
import typing

import clocks
import collecting
import kills
import network
import runners
import zombies


@dataclasses.dataclass
class Fault:
    group: str
    name: str
    engine: str
    runs: int  # that are counted as failed where it fails
    run: typing.Callable  # ground → (runs, note)
    make: bool = True  # the hub


def faults(short):
    found = []
    for engine in ("sqlite", "mongodb"):
        runs = 2 if short else 25
        for name, run in kills.kills(engine, runs, 1 if short else kills.LARGE):
            found.append(Fault("SIGKILL at", name, engine, runs, run))
        for action in ("lose", "cut", "full", "away"):
            runs = 1 if short else 10
            found.append(Fault("a write is", {"lose": "applied, its reply lost", "cut": "lost", "full": "refused, disk full",
                                              "away": "refused, hub away"}[action], engine, runs * len(kills.LOSSES),
                               lambda g, a=action, r=runs: kills.losses(g, a, r)))
        for name, count, run in zombies.zombies(engine, 1 if short else 5):
            found.append(Fault("SIGSTOP", name, engine, count, run))
        for name, count, run in collecting.collecting(engine, 1 if short else 10, 4 if short else 30):
            found.append(Fault("gc", name, engine, count, run))
        for name, count, make, run in clocks.clocks(engine, 3 if short else 20):
            found.append(Fault("clocks", name, engine, count, run, make))
        for name, count, make, run in network.network(engine, short):
            found.append(Fault("network", name, engine, count, run, make))
        for name, count, make, run in runners.runners(engine, short):
            found.append(Fault("runner", name, engine, count, run, make))
    return found
