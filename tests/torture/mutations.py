#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
"""Would the torture notice? Breaks the protocol in a copy of the source, one way at a time, builds what is needed, and
runs the part of the short form that is about it. Every mutation must turn it red, and the copy as it was must be green.

usage: mutations.py [--only WORD[,WORD]] [--report FILE] [--jobs N] [--check]

--check only looks whether each can still be made, and builds nothing. --only - tries the source as it is alone. Exit 1 where a mutation went unnoticed, or can no longer be made because the source has changed.
"""
import argparse
import pathlib
import shutil
import subprocess
import sys
import tempfile

SOURCE = pathlib.Path(__file__).resolve().parents[2]
FENCE, WRITE, FINISH = "hub/task_fence.c", "hub/task_write.c", "hub/task_finish.c"
SWEEPER, GC, SCAN = "hub/task_sweeper.c", "hub/gc.c", "hub/gc_scan.c"
CLAIM_LINE = '    BSON_APPEND_UTF8(filter, "claim.id", fence->claim_id);\n'
# A switch, so that one verb alone can go without the claim.
SWITCH = [(FENCE, CLAIM_LINE, "    if (!task_unfenced) {\n    " + CLAIM_LINE + "    }\n"),
          (FENCE, "bool task_id_text(", "_Thread_local bool task_unfenced;\n\nbool task_id_text("),
          ("hub/task_impl.h", '#define TASKS "tasks"\n', '#define TASKS "tasks"\nextern _Thread_local bool task_unfenced;\n')]
ON, OFF = "    task_unfenced = true;\n", "    task_unfenced = false;\n"


def unfenced(file, first, last):
    """The lines between two of a function go without the claim."""
    return [*SWITCH, (file, first, first + ON), (file, last, OFF + last)]


SLEEPERS = "SIGSTOP"
MUTATIONS = [
    ("no claim.id in the fence at all", SLEEPERS, [(FENCE, CLAIM_LINE, "")]),
    ("no claim.id: started", SLEEPERS, unfenced(WRITE, '    TL_TRY("started", fence);\n', '    TL_DID("started", fence, result);\n')),
    ("no claim.id: beat", SLEEPERS, unfenced(WRITE, '    TL_TRY("beat", fence);\n', '    TL_DID("beat", fence, result);\n')),
    ("no claim.id: checkpoint", SLEEPERS,
     unfenced("hub/task_checkpoint.c", '    TL_TRY("checkpoint", fence);\n', '    TL_DID("checkpoint", fence, result);\n')),
    ("no claim.id: release", SLEEPERS, unfenced(WRITE, '    TL_TRY("release", fence);\n', '    TL_DID("release", fence, result);\n')),
    ("no claim.id: crash", SLEEPERS, unfenced(WRITE, '    TL_FAULT("crash.write");\n', '    TL_DID("crash", fence, result);\n')),
    ("no claim.id: fail, cancel, pause", SLEEPERS,
     unfenced(WRITE, '    TL_TRY(state, fence);\n', '    TL_DID(state, fence, result);\n')),
    ("no claim.id: the commit", SLEEPERS,
     [*SWITCH, (FINISH, "    task_fence_filter(f->fence, &f->commit_filter);\n",
                ON + "    task_fence_filter(f->fence, &f->commit_filter);\n" + OFF)]),
    ("no claim.id: an epoch's commit", SLEEPERS,
     [*SWITCH, ("hub/task_epoch.c", "    task_fence_filter(k->fence, &k->commit_filter);\n",
                ON + "    task_fence_filter(k->fence, &k->commit_filter);\n" + OFF)]),
    ("no result.claim_id: published, by who finished", "woken in the next run",
     [(FINISH, '    BSON_APPEND_UTF8(&f->published_filter, "result.claim_id", f->fence->claim_id);\n', "")]),
    ("no result.claim_id: published, by a roll-forward", "woken in the next run",
     [("hub/task_publish.c", '{"result.claim_id", "kept.blob_id"}', '{"kept.blob_id"}')]),
    ("no claim.id: take-back", "a sweeper woken",
     [(SWEEPER, 'static const char *const paths[] = {"claim.id", "claim.beat", "request"};',
       'static const char *const paths[] = {"request", "claim.beat", "request"};'),
      (SWEEPER, "    for (size_t i = 0; i < 3; i++) {\n        bson_iter_t iter, value;\n        bool there",
       "    for (size_t i = 1; i < 3; i++) {\n        bson_iter_t iter, value;\n        bool there")]),
    ("no claim.beat: take-back", "a sweeper woken",
     [(SWEEPER, 'static const char *const paths[] = {"claim.id", "claim.beat", "request"};',
       'static const char *const paths[] = {"request", "claim.id", "request"};'),
      (SWEEPER, "    for (size_t i = 0; i < 3; i++) {\n        bson_iter_t iter, value;\n        bool there",
       "    for (size_t i = 1; i < 3; i++) {\n        bson_iter_t iter, value;\n        bool there")]),
    ("the sweeper trusts a clock: beat_at by the server's time", "clocks",
     [(SWEEPER, '"claim.beat", "claim.lease_ms",\n', '"claim.beat", "claim.lease_ms", "beat_at",\n'),
      (SWEEPER, "seen->since != INT64_MAX && begin - seen->since >= lease_of(sweeper, task)",
       "hub_now(hub, &wall, error) > 0 && bson_iter_init_find(&stamp, task, \"beat_at\") && "
       "wall - bson_iter_date_time(&stamp) >= sweeper->lease_ms"),
      (SWEEPER, "            if (!sighting_shows(seen, &value)) {\n",
       "            int64_t wall = 0;\n            bson_iter_t stamp;\n            if (false) {\n")]),
    ("the sweeper forgets nothing after a gap", "all asleep",
     [(SWEEPER, "sweeper->contact > 0 && begin - sweeper->contact > sweeper->lease_ms / 3", "false")]),
    ("the sweeper takes every claim for one of its own lease", "different leases",
     [(SWEEPER, "return named > sweeper->lease_ms && named <= TASK_LEASE_MOST_MS ? named : sweeper->lease_ms;",
       "return named > 0 ? sweeper->lease_ms : sweeper->lease_ms;")]),
    ("no roll-forward", "SIGKILL at",
     [(SWEEPER, "        result = task_publish(hub, task, error);\n", "        result = 0;\n")]),
    ("a claim whose reply was lost is not asked for", "a write is",
     [("hub/task_claim.c", "if (result < 0 && hub_unknown(error)) {\n        bson_destroy(task);", "if (false) {\n        bson_destroy(task);")]),
    ("a finish that matched nothing counts as done", SLEEPERS,
     [(FINISH, "        if (verdict == VERDICT_LOST) {\n            result = 0;",
       "        if (verdict == VERDICT_LOST) {\n            result = 1;")]),
    ("the model is shown before the commit", "SIGSTOP,SIGKILL at",
     [(FINISH, "                                    .guard = true});\n    if (model || dataset) {",
       "                                    .guard = true});\n    if (dataset) {"),
      (FINISH, "    f->commit_at = f->count;\n",
       "    if (model) {\n        add(f, (struct store_operation){.kind = STORE_UPDATE, .collection = \"models\", .filter = &f->output_filter, "
       ".update = &f->output_update, .upsert = true});\n    }\n    f->commit_at = f->count;\n")]),
    ("a shown model is written again ($set)", "woken behind its commit",
     [("hub/task_publish.c", '    BSON_APPEND_DOCUMENT_BEGIN(update, "$setOnInsert", &part);',
       '    BSON_APPEND_DOCUMENT_BEGIN(update, "$set", &part);\n    BSON_APPEND_BOOL(&part, "deleted", false);')]),
    ("a deleted model leaves no tombstone", "woken behind its commit",
     [("hub/model.c", '    return hub_text(model, "task") == NULL ? delete_one(hub, model, error)', "    return true ? delete_one(hub, model, error)")]),
    ("gc deletes without its mark", "gc:",
     [(GC, '    BSON_APPEND_UTF8(filter, "metadata.condemned", gc->token);\n', "    (void)gc;\n")]),
    ("gc marks, and does not look again", "gc:",
     [(GC, '        TL_FAULT("gc_pointers.before");\n        if (gc_find_pointers(gc, batch, error) < 0) {',
       '        TL_FAULT("gc_pointers.before");\n        if (false) {')]),
    ("who points again does not take the mark away", "gc:",
     [("hub/gc_upload.c", '        result = store_modify(hub_store(hub), "blobs.files", &filter, &update, NULL, NULL, &inner);',
       "        result = 1;")]),
    ("gc takes every announcement for stale", "gc:",
     [(SCAN, "    return result < 0 ? -1 : !live;", "    return result < 0 ? -1 : live || !live;")]),
    ("gc takes no checkpoint for a pointer", "gc:,SIGKILL at",
     [(SCAN, 'find_at(gc, batch, TASKS, "checkpoint.blob_id", NULL, error) < 0', "false")]),
    ("gc leaves the chunks", "gc:,SIGKILL at",
     [(GC, "    return delete_chunks(gc, &candidate->id, error) < 0 ? -1 : 1;", "    return 1;"),
      (GC, "    int64_t count = delete_chunks(gc, id, error);", "    int64_t count = 0;")]),
]


def copy_source(folder):
    listed = subprocess.run(["git", "ls-files", "-co", "--exclude-standard"], cwd=SOURCE, check=True, stdout=subprocess.PIPE,
                            text=True).stdout.split("\n")
    for name in filter(None, listed):
        target = folder / name
        target.parent.mkdir(parents=True, exist_ok=True)
        if (SOURCE / name).is_file():
            shutil.copy2(SOURCE / name, target)


def build(source, folder):
    done = subprocess.run(["ninja", "-C", str(folder), "torture_client", "torture_clock"], stdout=subprocess.PIPE,
                          stderr=subprocess.STDOUT, text=True)
    return None if done.returncode == 0 else done.stdout[-1500:]


def torture(source, folder, words, jobs):
    """(exit status, the first failure's line)"""
    done = subprocess.run([sys.executable, str(source / "tests" / "torture" / "torture.py"), str(folder), "--short", "--seed", "1",
                           "--jobs", str(jobs), "--fail-fast", "--only", words], stdout=subprocess.PIPE,
                          stderr=subprocess.STDOUT, text=True)
    lines = [line for line in done.stdout.splitlines() if line.startswith("FAILED")]
    kept = [line.split()[-1] for line in done.stdout.splitlines() if "the folders are kept under" in line]
    for name in kept:
        shutil.rmtree(name, ignore_errors=True)
    return done.returncode, (lines[0] if lines else done.stdout[-500:])


def problem_of(source, patches):
    """Why the patches cannot be made, one after the other; None where they can."""
    texts = {}
    for name, old, new in patches:
        text = texts.get(name) or (source / name).read_text()
        if text.count(old) != 1:
            return f"cannot be made: {name} holds {text.count(old)} times: {old.strip()[:80]}"
        texts[name] = text.replace(old, new)
    return None


def check():
    """A list of what can no longer be made grows unnoticed: the long run is made seldom."""
    problems = [(name, problem_of(SOURCE, patches)) for name, _, patches in MUTATIONS]
    for name, problem in problems:
        if problem:
            print(f"FAILED {name}: {problem}")
    print(f"{sum(not problem for _, problem in problems)} of {len(problems)} mutations can be made")
    return 1 if any(problem for _, problem in problems) else 0


def try_one(source, folder, words, patches, jobs):
    """(ok, what was seen)"""
    saved = {}
    problem = problem_of(source, patches)
    if problem:
        return False, problem
    try:
        for name, old, new in patches:
            path = source / name
            saved.setdefault(name, path.read_text())
            path.write_text(path.read_text().replace(old, new))
        problem = build(source, folder)
        if problem:
            return False, f"does not build: {problem}"
        status, line = torture(source, folder, words, jobs)
        return status == 1, line if status == 1 else f"UNNOTICED (exit {status})"
    finally:
        for name, text in saved.items():
            (source / name).write_text(text)


def main():
    parser = argparse.ArgumentParser(usage=__doc__)
    parser.add_argument("--only", default="")
    parser.add_argument("--report", type=pathlib.Path)
    parser.add_argument("--jobs", type=int, default=4)
    parser.add_argument("--check", action="store_true")
    given = parser.parse_args()
    if given.check:
        return check()
    wanted = [w for w in given.only.split(",") if w]
    chosen = [m for m in MUTATIONS if not wanted or any(w in m[0] for w in wanted)]
    folder = pathlib.Path(tempfile.mkdtemp(prefix="tl_hub-mutations-"))
    rows, failed = [], False
    try:
        source, built = folder / "source", folder / "build"
        copy_source(source)
        subprocess.run(["cmake", "-S", str(source), "-B", str(built), "-G", "Ninja", "-DTL_HUB_FAULTS=ON", "-DTL_HUB_BENCH=OFF",
                        "-DCMAKE_BUILD_TYPE=RelWithDebInfo"], check=True, stdout=subprocess.DEVNULL)
        problem = build(source, built)
        if problem:
            print(problem, file=sys.stderr)
            return 1
        all_words = ",".join(sorted({w for _, words, _ in chosen or MUTATIONS for w in words.split(",")}))
        status, line = torture(source, built, all_words, given.jobs)
        print(f"{'ok    ' if status == 0 else 'FAILED'} the source as it is: {'green' if status == 0 else line}", flush=True)
        failed = status != 0
        rows.append(("(none)", "green" if status == 0 else f"RED: {line}"))
        for name, words, patches in chosen:
            ok, seen = try_one(source, built, words, patches, given.jobs)
            seen = seen.split(" [/")[0] if ok else seen
            seen = seen.replace(str(folder), "").replace("FAILED ", "", 1)
            failed = failed or not ok
            print(f"{'ok    ' if ok else 'FAILED'} {name}: {seen}", flush=True)
            rows.append((name, ("red: " if ok else "") + " ".join(seen.split())[:220].replace("|", "/")))
    finally:
        shutil.rmtree(folder, ignore_errors=True)
    text = "| mutation | the short form |\n| --- | --- |\n" + "".join(f"| {name} | {seen} |\n" for name, seen in rows)
    print("\n" + text)
    if given.report:
        given.report.parent.mkdir(parents=True, exist_ok=True)
        given.report.write_text(text)
    return 1 if failed else 0


if __name__ == "__main__":
    sys.exit(main())
