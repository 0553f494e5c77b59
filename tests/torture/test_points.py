#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
"""Every named point of the source is in the matrix of faults, and every point of the matrix is in the source: a new step
of the protocol cannot be forgotten, nor a removed one be thought covered."""
import pathlib
import re
import sys

import collecting
import kills
import runners
import zombies

SOURCE = pathlib.Path(__file__).resolve().parents[2]
WITHOUT = {
    "elect.before": "once in the life of a hub",
    "decide.before": "only after a lost reply, which is a fault of its own",
    "gc_pardon.after": "the pardon is the last word about its blob",
    "retain_result.before": "made again by whoever looks at the sweep next; tests/hub/test_model.c has the state between",
    "retain_model.before": "the same",
    "gc_tombstone.before": "a deletion by _id, made again by the next gc",
}


def in_source():
    names = set()
    for path in [*SOURCE.glob("hub/*.c"), *SOURCE.glob("runner/*.c")]:
        text = path.read_text()
        names |= set(re.findall(r'TL_FAULT\("([a-z_.]+)"\)', text))
        names |= {f"{verb}.before" for verb in re.findall(r'TL_TRY\("([a-z_]+)"', text)}
        names |= {f"{verb}.after" for verb in re.findall(r'TL_DID\("([a-z_]+)"', text)}
        names |= {f"{step}.{when}" for step in re.findall(r'\{STORE_[A-Z]+, "[a-z.]+", \w+, "([a-z_]+)"\}', text)
                  for when in ("before", "after")}
    # By the state that a task ends in; pausing is cancelling by another name.
    return names | {f"{state}.{when}" for state in ("failed", "cancelled") for when in ("before", "after")}


def in_matrix():
    names = {point for point, *_ in kills.WORK} | {point for point, *_ in zombies.POINTS} | set(kills.LOSSES) | set(runners.INFER_POINTS)
    for _, _, points in kills.OTHERS:
        names |= set(points)
    text = pathlib.Path(collecting.__file__).read_text()
    return names | set(re.findall(r'"([a-z_]+\.(?:before|after))[:"]', text)) | set(re.findall(r',([a-z_]+\.before):kill', text))


def main():
    source, matrix = in_source(), in_matrix()
    forgotten, gone = source - matrix - set(WITHOUT), (matrix | set(WITHOUT)) - source
    assert not forgotten, f"in the source, in no fault of the matrix: {sorted(forgotten)}"
    assert not gone, f"in the matrix, not in the source: {sorted(gone)}"
    print(f"{len(source)} points, {len(source & matrix)} of them in the matrix")


if __name__ == "__main__":
    sys.exit(main())
