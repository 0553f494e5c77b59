# SPDX-License-Identifier: Apache-2.0
"""Which faults there are: the long form, and the short one that runs with the ordinary tests."""
import dataclasses
import typing

import claimers
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
    alone: bool = False  # it would starve what runs beside it


def faults(short):
    found = []
    for engine in ("sqlite", "mongodb"):
        for name, runs, run in kills.short_kills(engine) if short else kills.long_kills(engine, 25):
            found.append(Fault("SIGKILL at", name, engine, runs, run))
        for action, name in kills.ACTIONS.items():
            found.append(Fault("a write is", name, engine, 1, lambda g, a=action: kills.losses(g, a, 1 if short else 10)))
        for name, runs, run in zombies.zombies(engine, 1 if short else 5):
            found.append(Fault("SIGSTOP", name, engine, runs, run))
        for name, runs, run in collecting.collecting(engine, 1 if short else 10, 3 if short else 30):
            found.append(Fault("gc", name, engine, runs, run))
        for name, runs, make, run in clocks.clocks(engine, 3 if short else 20):
            found.append(Fault("clocks", name, engine, runs, run, make))
        for name, runs, make, run in network.network(engine, short):
            found.append(Fault("network", name, engine, runs, run, make))
        for name, runs, make, run in runners.runners(engine, short):
            found.append(Fault("runner", name, engine, runs, run, make))
        for name, runs, run in claimers.many(engine, short):
            found.append(Fault("claimers", name, engine, runs, run, alone=not short))
    if short:  # beside each other: what takes longest begins first
        found.sort(key=lambda fault: ["network", "runner", "clocks", "SIGSTOP", "gc", "SIGKILL at", "a write is", "claimers"].index(fault.group))
    return found
