#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
"""The invariants, checked from what every process wrote down for itself (TL_HUB_HISTORY, see hub/fault.h) and from the
hub as it is, read without tl_hub's code.

usage: checker.py --hub URI --histories FOLDER [--quiet] [--collected]

--quiet      all runners have ended and a sweeper has had its time: nothing may be running (I5)
--collected  gc has run since: no blob, chunk or announcement may be left without use (I6)

I1 at most one accepted finish for each run of a task and one model for each epoch of it, and what was accepted stands; no fenced write is accepted from a
   claim after another claim of the task was given out
I2 every blob that something points to is there, whole, with its digest
I3 a task's claims and run never decrease
I4 what was submitted is there, each task in one state
I5 no task is running that nobody works on
I6 no blob that nothing points to
I7 no task is taken back before its holder was silent for a whole lease
Prints one line for each violation. Exit 1 where there are any.
"""
import argparse
import collections
import hashlib
import pathlib
import sys

import raw_hub

FENCED = {"started", "beat", "release", "crash", "failed", "cancelled", "paused", "finish", "checkpoint", "epoch", "park"}
SIGNS_OF_LIFE = {"claim", "beat"}  # what a sweeper can see: claim.id and claim.beat
ENDED_WELL = {"done", "stopped"}
STATES = {"waiting", "delayed", "ready", "running", "paused", "parked", "done", "failed", "dead", "cancelled", "stopped"}
# Points behind the write that decides: to wake there says nothing of when it was sent.
BEHIND = {"model.before", "published.before", "upload_done.before", "commit.after", "publish.before", "decide.before",
          "model.after", "published.after", "upload_done.after", "publish.after", "transaction.after"}


class Write:
    """A write that a process tried: when it can have been sent first, and what it was told."""

    def __init__(self, pid, verb, task, claim, sent):
        self.pid, self.verb, self.task, self.claim, self.sent = pid, verb, task, claim, sent
        self.told = None  # when
        self.result = None
        self.rest = []


def read_histories(folder):
    """All writes, in the order in which they were tried."""
    writes = []
    for path in sorted(pathlib.Path(folder).iterdir()):
        open_writes = {}
        for line in path.read_text().splitlines():
            words = line.split()
            if len(words) < 3:
                continue  # its writer was killed in the middle of it
            time, pid, phase = int(words[0]), int(words[1]), words[2]
            if phase == "woken" and words[3] not in BEHIND and not (
                    words[3].endswith(".after") and words[3].split(".")[0] in FENCED | {"claim"}):
                for write in open_writes.values():
                    write.sent = time
            elif phase == "try":
                write = Write(pid, *words[3:6], time)
                write.rest = words[6:]
                open_writes[words[3], words[5] if words[5] != "-" else words[4]] = write
                writes.append(write)
            elif phase == "did":
                write = open_writes.pop((words[3], words[5] if words[5] != "-" else words[4]), None)
                if write is None:
                    write = Write(pid, *words[3:6], time)
                    writes.append(write)
                write.task, write.told, write.result = words[4], time, int(words[6])
                write.rest = words[7:] or write.rest
    return sorted(writes, key=lambda w: w.sent)


def at(document, path):
    for name in path.split("."):
        document = document.get(name) if isinstance(document, dict) else None
    return document


class Checker:
    def __init__(self, hub, writes):
        self.writes = writes
        self.tasks = {t["_id"]: t for t in hub.read("tasks")}
        self.models = hub.read("models")
        self.datasets = hub.read("datasets")
        self.uploads = hub.read("uploads")
        self.files = {f["_id"]: f for f in hub.read("blobs.files")}
        self.chunks = collections.defaultdict(list)
        for chunk in hub.read("blobs.chunks"):
            self.chunks[chunk["files_id"]].append((chunk["n"], chunk["data"]))
        self.damage = hub.check_file()
        self.deleted = {w.verb for w in writes if w.verb.startswith("user-")}
        # Of one task, in the order of the numbers that they were given: (claims, write).
        self.claims = collections.defaultdict(list)
        for write in writes:
            if write.verb == "claim" and write.result == 1:
                self.claims[write.task].append((int(write.rest[1]), int(write.rest[0]), write))
        self.run_of = {w.claim: run for claims in self.claims.values() for _, run, w in claims}
        self.found = []

    def say(self, invariant, text):
        self.found.append(f"{invariant}: {text}")

    def one_finish(self):
        accepted = collections.defaultdict(set)
        for write in self.writes:
            if write.verb == "finish" and write.result == 1:
                accepted[write.task, self.run_of.get(write.claim)].add(write.claim)
        for (task, run), claims in accepted.items():
            if len(claims) > 1:
                self.say("I1", f"task {task}, run {run}: the finishes of {len(claims)} claims were accepted: {sorted(claims)}")
            document = self.tasks.get(task)
            for claim in claims:
                self.finish_stands(task, run, claim, document)
        runs = collections.defaultdict(list)
        epochs = collections.Counter()
        for model in self.models:
            if model.get("task") is not None and "run" in model and model.get("final") is False:
                epochs[model["task"], model["run"], model["epoch"]] += 1
            elif model.get("task") is not None and "run" in model:
                runs[model["task"], model["run"]].append(model["_id"])
        for (task, run, epoch), count in epochs.items():
            if count > 1:
                self.say("I1", f"task {task}, run {run}: {count} models of epoch {epoch}")
        for (task, run), ids in runs.items():
            document = self.tasks.get(task)
            if len(ids) > 1:
                self.say("I1", f"task {task}, run {run}: {len(ids)} models: {ids}")
            elif document and document.get("run") == run and at(document, "result.claim_id") != ids[0]:
                self.say("I1", f"task {task}: the model {ids[0]} is not of the claim that finished it")
        self.one_dataset()
        for task in self.tasks.values():
            if task["state"] in ENDED_WELL and at(task, "result.claim_id") is None:
                self.say("I1", f"task {task['_id']} is {task['state']} without a result")

    def one_dataset(self):
        """What a task makes is under its claim's id, once for each of its finishes."""
        finishes = {(w.task, w.claim) for w in self.writes if w.verb == "finish" and w.result == 1}
        there = {dataset["_id"] for dataset in self.datasets}
        for dataset in self.datasets:
            task = self.tasks.get(dataset.get("task"))
            if task and (task["_id"], dataset["_id"]) not in finishes and at(task, "result.claim_id") != dataset["_id"]:
                self.say("I1", f"task {task['_id']}: the dataset {dataset['_id']} is of no claim that finished it")
        for task in self.tasks.values():
            made = at(task, "result.dataset_id")
            if made and task.get("published") and not at(task, "result.deleted") and made not in there:
                self.say("I1", f"task {task['_id']}: no dataset of its result {made}")

    def finish_stands(self, task, run, claim, document):
        if document is None:
            if "user-delete-tasks" not in self.deleted:
                self.say("I1", f"task {task}: its finish was accepted, and it is gone")
        elif document.get("run") == run:
            if document["state"] not in ENDED_WELL or at(document, "result.claim_id") != claim:
                self.say("I1", f"task {task}: the finish of {claim} was accepted; it is {document['state']} with the result "
                               f"of {at(document, 'result.claim_id')}")
            elif at(document, "result.blob_id") and "user-delete-models" not in self.deleted and \
                    not any(m["_id"] == claim for m in self.models):
                self.say("I1", f"task {task}: no model of its result {claim}")

    def fence(self):
        for write in self.writes:
            if write.verb not in FENCED or write.result != 1:
                continue
            own = next((n for n, _, w in self.claims[write.task] if w.claim == write.claim), None)
            for number, _, other in self.claims[write.task]:
                if own is not None and number > own and other.told < write.sent:
                    self.say("I1", f"task {write.task}: {write.verb} of claim {write.claim} (number {own}) was accepted after "
                                   f"claim {other.claim} (number {number}) was given out")

    def blob(self, blob_id, digest, who):
        files = self.files.get(blob_id)
        if files is None:
            self.say("I2", f"{who}: its blob {blob_id} is gone")
            return
        chunks = sorted(self.chunks.get(blob_id, []))
        data = b"".join(part for _, part in chunks)
        if [n for n, _ in chunks] != list(range(len(chunks))) or len(data) != files["length"]:
            self.say("I2", f"{who}: its blob {blob_id} has {len(data)} bytes in chunks {[n for n, _ in chunks]}, not "
                           f"{files['length']}")
        elif digest is not None and hashlib.sha256(data).hexdigest() != digest:
            self.say("I2", f"{who}: its blob {blob_id} has another digest")

    def pointers(self):
        for task in self.tasks.values():
            for place in ("result", "checkpoint", "kept"):
                if at(task, f"{place}.blob_id"):
                    yield at(task, f"{place}.blob_id"), at(task, f"{place}.sha256"), f"task {task['_id']}, {place}"
        for model in self.models:
            if model.get("blob_id") and not model.get("deleted"):
                yield model["blob_id"], model.get("sha256"), f"model {model['_id']}"
        for dataset in self.datasets:
            if dataset.get("deleted"):
                continue
            for number, part in enumerate(dataset.get("parts", [])):
                yield part["blob_id"], part.get("sha256"), f"dataset {dataset['name']}, part {number}"

    def blobs(self):
        for blob_id, digest, who in self.pointers():
            self.blob(blob_id, digest, who)

    def counters(self):
        for task, claims in self.claims.items():
            numbers = collections.Counter(n for n, _, _ in claims)
            for number, count in numbers.items():
                if count > 1:
                    self.say("I3", f"task {task}: {count} claims have the number {number}")
            for number, run, write in claims:
                for other, other_run, later in claims:
                    if later.sent > write.told and (other < number or other_run < run):
                        self.say("I3", f"task {task}: claim number {other} of run {other_run} came after number {number} of "
                                       f"run {run}")
            document = self.tasks.get(task)
            if document and claims and (document["claims"] < max(n for n, _, _ in claims) or
                                        document["run"] < max(r for _, r, _ in claims)):
                self.say("I3", f"task {task}: claims {document['claims']}, run {document['run']} in the hub, after claims "
                               f"that were given more")

    def submitted(self):
        tried = {w.task for w in self.writes if w.verb == "submit"}
        names = {w.task for w in self.writes if w.verb == "submit" and w.result is not None}
        if tried and "user-delete-tasks" not in self.deleted:
            for task in names - set(self.tasks):
                self.say("I4", f"task {task} was submitted and is gone")
            for task in set(self.tasks) - tried:
                self.say("I4", f"task {task} was never submitted")
        for task in self.tasks.values():
            if task["state"] not in STATES:
                self.say("I4", f"task {task['_id']} is in no state: {task['state']}")

    def quiet(self):
        for task in self.tasks.values():
            if task["state"] == "running":
                self.say("I5", f"task {task['_id']} is running under {at(task, 'claim.id')}, and nobody works on it")
            if task.get("published") is False:
                self.say("I5", f"task {task['_id']} has committed a model that was never shown")

    def collected(self):
        used = {blob_id for blob_id, _, _ in self.pointers()}
        for blob_id, files in self.files.items():
            if blob_id not in used:
                self.say("I6", f"blob {blob_id} ({at(files, 'metadata.kind')}) is left, and nothing points to it")
        for blob_id in set(self.chunks) - set(self.files):
            self.say("I6", f"{len(self.chunks[blob_id])} chunks of {blob_id} are left without a files document")
        for upload in self.uploads:
            self.say("I6", f"the announcement of {upload['_id']} is left")

    def taken_back(self):
        life = collections.defaultdict(list)
        for write in self.writes:
            if write.verb in SIGNS_OF_LIFE and write.result == 1:
                life[write.claim].append(write)
        for write in self.writes:
            if write.verb != "take-back" or write.result != 1:
                continue
            lease = int(write.rest[0]) * 1000
            for sign in life[write.claim]:
                if sign.told < write.sent < sign.sent + lease:
                    self.say("I7", f"task {write.task} was taken back {(write.sent - sign.sent) / 1e6:.3f} s after a {sign.verb} "
                                   f"of its holder; the lease is {lease / 1e6:g} s")

    def check(self, quiet, collected):
        for line in self.damage:
            self.say("file", line)
        self.one_finish()
        self.fence()
        self.blobs()
        self.counters()
        self.submitted()
        self.taken_back()
        if quiet:
            self.quiet()
        if collected:
            self.collected()
        return self.found


def check(uri, histories, quiet=False, collected=False):
    """The violations, a line each."""
    hub = raw_hub.open_hub(uri)
    try:
        return Checker(hub, read_histories(histories)).check(quiet, collected)
    finally:
        hub.close()


def main():
    parser = argparse.ArgumentParser(usage=__doc__)
    parser.add_argument("--hub", required=True)
    parser.add_argument("--histories", required=True)
    parser.add_argument("--quiet", action="store_true")
    parser.add_argument("--collected", action="store_true")
    given = parser.parse_args()
    found = check(given.hub, given.histories, given.quiet, given.collected)
    print("\n".join(found))
    return 1 if found else 0


if __name__ == "__main__":
    sys.exit(main())
