#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
"""The checker must find what is wrong: hubs and histories made by hand, one good, and for each invariant several that
break it. Uses nothing of tl_hub but the checker."""
import copy
import hashlib
import pathlib
import sys
import tempfile

import checker
from raw_hub import Oid, SqliteHub, decode, encode

A, B, C = "a" * 32, "b" * 32, "c" * 32
BLOB, PART, OTHER = Oid("1" * 24), Oid("2" * 24), Oid("3" * 24)
LEASE = 1000


def blob(blob_id, data, **metadata):
    digest = hashlib.sha256(data).hexdigest()
    files = {"_id": blob_id, "length": len(data), "metadata": {"sha256": digest, **metadata}}
    half = len(data) // 2
    return files, [{"_id": n, "files_id": blob_id, "n": n, "data": part} for n, part in enumerate((data[:half], data[half:]))]


def good():
    """Task t was taken back from A and finished by B; u waits; a dataset has one part."""
    weights, weight_chunks = blob(BLOB, b"weights of b")
    part, part_chunks = blob(PART, b"rows")
    digest = weights["metadata"]["sha256"]
    return {
        "tasks": [{"_id": "t", "state": "done", "run": 1, "claims": 2, "published": True, "claim": {"id": B, "beat": 0},
                   "result": {"claim_id": B, "blob_id": BLOB, "sha256": digest}},
                  {"_id": "u", "state": "ready", "run": 1, "claims": 0}],
        "models": [{"_id": B, "task": "t", "run": 1, "blob_id": BLOB, "sha256": digest}],
        "datasets": [{"_id": "d", "name": "d", "parts": [{"blob_id": PART, "sha256": part["metadata"]["sha256"]}]}],
        "uploads": [],
        "blobs.files": [weights, part],
        "blobs.chunks": weight_chunks + part_chunks,
    }


def good_histories():
    second = 1000000
    return {
        "1-1": [f"{1 * second} 1 try submit t -", f"{1 * second} 1 did submit t - 1",
                f"{1 * second} 1 try submit u -", f"{1 * second} 1 did submit u - 1"],
        "2-2": [f"{2 * second} 2 try claim - {A}", f"{2 * second + 10} 2 did claim t {A} 1 1 1",
                f"{3 * second} 2 try beat t {A}", f"{3 * second + 10} 2 did beat t {A} 1",
                f"{4 * second} 2 try finish t {A}", f"{4 * second} 2 fault commit.before stop",
                f"{9 * second} 2 woken commit.before", f"{9 * second + 10} 2 did finish t {A} 0"],
        "3-3": [f"{5 * second} 3 try take-back t {A} {LEASE}", f"{5 * second + 10} 3 did take-back t {A} 1"],
        "4-4": [f"{6 * second} 4 try claim - {B}", f"{6 * second + 10} 4 did claim t {B} 1 1 2",
                f"{7 * second} 4 try finish t {B}", f"{7 * second + 10} 4 did finish t {B} 1"],
    }


def verdict(hub, histories):
    with tempfile.TemporaryDirectory() as folder:
        folder = pathlib.Path(folder)
        store = SqliteHub(str(folder / "hub.db"))
        for collection, documents in hub.items():
            for document in documents:
                store.write(collection, document)
        store.close()
        (folder / "histories").mkdir()
        for name, lines in histories.items():
            (folder / "histories" / name).write_text("\n".join(lines) + "\n")
        return checker.check(f"sqlite:{folder}/hub.db", folder / "histories", quiet=True, collected=True)


def replaced(histories, old, new):
    text = {name: [line.replace(old, new) for line in lines] for name, lines in histories.items()}
    assert text != histories, old
    return text


def stale_finish(hub, histories):
    return hub, replaced(histories, f"did finish t {A} 0", f"did finish t {A} 1")


def finish_not_in_the_hub(hub, histories):
    hub["tasks"][0] |= {"state": "ready", "result": None}
    hub["models"] = []
    return hub, histories


def second_model(hub, histories):
    hub["models"].append({"_id": A, "task": "t", "run": 1})
    return hub, histories


def epoch_twice(hub, histories):
    hub["models"] += [{"_id": name, "task": "t", "run": 1, "epoch": 3, "final": False} for name in ("e", "f")]
    return hub, histories


def epoch_never_shown(hub, histories):
    hub["tasks"][1] |= {"published": False, "kept": {"epoch": 3}}
    return hub, histories


def model_of_another_claim(hub, histories):
    hub["models"][0]["_id"] = A
    return hub, histories


def dataset_of_another_claim(hub, histories):
    hub["datasets"][0] |= {"_id": A, "task": "t"}
    return hub, histories


def dataset_never_there(hub, histories):
    hub["tasks"][0]["result"]["dataset_id"] = B
    return hub, histories


def stale_beat(hub, histories):
    return hub, replaced(histories, f"did finish t {A} 0", f"did finish t {A} 0\n10000000 2 try beat t {A}\n10000010 2 did beat t {A} 1")


def stale_release_of_a_woken(hub, histories):
    return hub, {name: [line.replace("finish", "release").replace(f"t {A} 0", f"t {A} 1") if name == "2-2" else line
                        for line in lines] for name, lines in histories.items()}


def blob_gone(hub, histories):
    hub["blobs.files"].pop(0)
    hub["blobs.chunks"] = [c for c in hub["blobs.chunks"] if c["files_id"] != BLOB]
    return hub, histories


def part_gone(hub, histories):
    hub["blobs.files"].pop(1)
    hub["blobs.chunks"] = [c for c in hub["blobs.chunks"] if c["files_id"] != PART]
    return hub, histories


def chunk_gone(hub, histories):
    hub["blobs.chunks"].pop(0)
    return hub, histories


def byte_changed(hub, histories):
    hub["blobs.chunks"][0]["data"] = b"Weight"
    return hub, histories


def claims_decrease(hub, histories):
    hub["tasks"][0]["claims"] = 1
    return hub, histories


def run_decreases(hub, histories):
    return hub, replaced(histories, f"did claim t {A} 1 1 1", f"did claim t {A} 1 2 1")


def same_number_twice(hub, histories):
    return hub, replaced(histories, f"did claim t {B} 1 1 2", f"did claim t {B} 1 1 1")


def task_gone(hub, histories):
    hub["tasks"].pop(1)
    return hub, histories


def task_from_nowhere(hub, histories):
    hub["tasks"].append({"_id": "x", "state": "ready", "run": 1, "claims": 0})
    return hub, histories


def no_such_state(hub, histories):
    hub["tasks"][1]["state"] = "lost"
    return hub, histories


def left_running(hub, histories):
    hub["tasks"][1] |= {"state": "running", "claim": {"id": C, "beat": 3}}
    return hub, histories


def never_shown(hub, histories):
    hub["tasks"][0]["published"] = False
    return hub, histories


def orphan_blob(hub, histories):
    files, chunks = blob(OTHER, b"nobody's")
    hub["blobs.files"].append(files)
    hub["blobs.chunks"] += chunks
    return hub, histories


def orphan_chunks(hub, histories):
    hub["blobs.chunks"] += blob(OTHER, b"nobody's")[1]
    return hub, histories


def announcement_left(hub, histories):
    hub["uploads"].append({"_id": OTHER, "claim": C})
    return hub, histories


def taken_back_early(hub, histories):
    return hub, replaced(histories, "5000000 3 try take-back", "3900000 3 try take-back")


CASES = {
    "I1": [stale_finish, finish_not_in_the_hub, second_model, epoch_twice, model_of_another_claim, dataset_of_another_claim,
           dataset_never_there, stale_beat, stale_release_of_a_woken],
    "I2": [blob_gone, part_gone, chunk_gone, byte_changed],
    "I3": [claims_decrease, run_decreases, same_number_twice],
    "I4": [task_gone, task_from_nowhere, no_such_state],
    "I5": [epoch_never_shown, left_running, never_shown],
    "I6": [orphan_blob, orphan_chunks, announcement_left],
    "I7": [taken_back_early],
}


def main():
    document = {"a": 1.5, "b": "text", "c": {"d": [True, None, 2 ** 40]}, "e": b"\0\1", "f": BLOB}
    assert decode(encode(document))[0] == document, "BSON does not come back as it went"
    found = verdict(good(), good_histories())
    assert not found, f"the good hub is said to break: {found}"
    for invariant, cases in CASES.items():
        for case in cases:
            hub, histories = case(copy.deepcopy(good()), good_histories())
            found = verdict(hub, histories)
            assert any(line.startswith(invariant + ":") for line in found), f"{case.__name__}: {invariant} was missed: {found}"
    print(f"one good hub, and {sum(map(len, CASES.values()))} bad ones that were all found out")


if __name__ == "__main__":
    sys.exit(main())
