#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
"""Hostile words through every option and argument of every verb, on both engines.

usage: test_operators.py BUILD_FOLDER [EVERY]

On MongoDB a proxy reads every command off the wire: no operator outside the subset may be among them, no document to be
stored may hold a $ key, no update may be a replacement or a pipeline. On SQLite the schema must be what it was. On both,
no verb may end by a signal or take long, and the documents of another project must be as they were.

Each option gets some of the words, in turn; with EVERY each gets all of them.
"""
import json
import os
import pathlib
import re
import sqlite3
import struct
import subprocess
import sys
import tempfile
import threading
from concurrent.futures import ThreadPoolExecutor

SOURCE = pathlib.Path(__file__).resolve().parent.parent.parent
sys.path.insert(0, str(SOURCE / "tests" / "support"))
from server_uri import address, with_database  # noqa: E402
from wire_record import Array, Document, Recorder, command_of  # noqa: E402

QUERY = {"$eq", "$ne", "$gt", "$gte", "$lt", "$lte", "$in", "$nin", "$all", "$exists", "$and", "$or", "$nor", "$not", "$regex"}
UPDATE = {"$set", "$unset", "$inc", "$min", "$max", "$push", "$setOnInsert", "$currentDate"}
COMMANDS = {"hello", "isMaster", "ismaster", "ping", "endSessions", "find", "getMore", "killCursors", "insert", "update",
            "delete", "findAndModify", "findandmodify", "aggregate", "count", "createIndexes", "listIndexes", "listCollections",
            "dropIndexes", "serverStatus", "buildInfo", "buildinfo", "explain", "collStats", "dbStats", "create",
            "getParameter", "hostInfo", "connectionStatus"}
# What the driver puts beside every command.
ENVELOPE = {"$db", "$readPreference", "$clusterTime"}
COUNTED_BY = {"$queue", "$resource_class", "$state"}  # no word of a user gets there

WORDS = [
    '{"$where": "sleep(1)"}', '{"a": {"$where": "1"}}', '{"$ne": null}', '{"name": {"$ne": null}}', '{"$gt": ""}',
    '{"$expr": {"$eq": ["$a", 1]}}', '{"$function": {"body": "x", "args": [], "lang": "js"}}', '{"$jsonSchema": {}}',
    '{"a": {"$elemMatch": {"$where": "1"}}}', '{"a": {"$in": [{"$where": "1"}]}}', '{"a": {"$eq": {"$where": "1"}}}',
    '{"$and": [{"$where": "1"}]}', '{"a": {"$not": {"$where": "1"}}}', '{"a": {"$exists": {"$ne": 1}}}',
    '{"name": {"$regex": ".*", "$options": "i"}}', '{"name": {"$regex": {"$where": 1}}}', '{"a.$b": 1}', '{"$comment": "x"}',
    '{"a": {"$all": [{"$elemMatch": {}}]}}', '{"a": {"$mod": [2, 0]}}', '{"a": {"$type": 2}}', '{"_id": {"$oid": "x"}}',
    '{"project": "sentinel"}', '{"project": {"$ne": "default"}}', '{"$or": [{"project": "sentinel"}, {}]}',
    '{"a\\u0000$where": 1}', '{"a": "x\\u0000$where"}', '{"$set": {"a": 1}}', '[{"$match": {}}]', '[{"$out": "tasks"}]',
    "$where", "$$ROOT", "$password", "a.$", "a.$[]", "$set.x", "__proto__", "constructor.prototype", ".", "..a", "$", "{", "\\",
    "$where=1", "a=$where", "a={$where}", "$where:desc", "x.$where=1", "project=sentinel or name!=zzz", "not a in ($where)",
    "$where={\"$gt\": 1}", "a={\"$where\": \"1\"}", "a=[{\"$where\": 1}]", "hyper_parameters.$x=1", "learning_rate={\"$gt\": 0}",
    "name='; DROP TABLE c_tasks; --'", "x'; DROP TABLE c_tasks; --", 'x"; DROP TABLE "c_tasks"; --', "' OR '1'='1", '" OR ""="',
    "x')--", "%", "_", "*?[a-z]", "k:a\"b='x'", "name~%' OR 1=1 --", "name~^a%_*", "a\"b'c:desc", "a'b", "id", "bson", "rowid",
    b"\xff\xfe\x80", b"a=\xff", b"\xed\xa0\x80", b"{\"a\": \"\xff\"}", "\x1b[31m", "\n", "\t", "", " ", "-", "--", "#1", "#-1",
    "99999999999999999999", "NaN", "-0", "1e999", "x" * 5000, "{" * 300, '{"a":' * 200,
]
# What a verb needs beside the option that is tried. Those that name nothing are refused before they do anything.
NEEDS = {
    "create-task": ["--dataset", "tiny", "--architecture", "dense:4"],
    "run-task": ["--until-empty", "--workers", "1", "--quiet", "--device", "ref"],
    "save-dataset": ["more", "--idx", "data"], "save-architecture": ["net", "dense:4"], "save-model": ["w.safetensors"],
    "save-log": ["--name", "mine", "--set", "loss=1"], "tag-model": ["none", "--add", "x"], "wait": ["--timeout", "10ms"],
    "get-model": ["--force"], "gc": ["--lease", "1ms"], "export": [], "import": ["hub.tl"], "watch": ["--timeout", "10ms"],
}
NEVER = {"--hub", "--hub-file", "--help", "--format", "--interval"}  # other hubs, or no way to the hub
EXITS = {0, 1, 2, 3, 6, 124}


class Checker:
    """Looks at every command; .wrong says what should not have been there."""

    def __init__(self):
        self.wrong, self.operators, self.count, self.names = [], {}, 0, {}
        self.lock = threading.Lock()

    def seen(self, code, body):
        with self.lock:
            self.look(code, body)

    def look(self, code, body):
        try:
            command = command_of(code, body)
            self.count += 1
            self.check(command)
        except Exception as problem:  # also what cannot be decoded
            self.wrong.append(f"{type(problem).__name__} {problem}: {body[:300]!r}")

    def require(self, condition, what, value):
        if not condition:
            self.wrong.append(f"{what}: {str(value)[:300]}")

    def use(self, operator):
        self.operators[operator] = self.operators.get(operator, 0) + 1

    def check(self, command):
        name = command[0][0]
        self.names[name] = self.names.get(name, 0) + 1
        self.require(name in COMMANDS, "a command that is not known here", command)
        self.require({key for key, _ in command if key.startswith("$")} <= ENVELOPE, "an operator beside a command", command)
        for key, value in command:
            if key in ("filter", "query", "q"):
                self.query(value)
            elif key == "update" and name.lower() == "findandmodify":
                self.update(value)
            elif key == "updates":
                for one in value:
                    self.query(one.get("q"))
                    self.update(one.get("u"))
            elif key == "deletes":
                for one in value:
                    self.query(one.get("q"))
            elif key == "documents":
                for one in value:
                    self.stored(one)
            elif key == "pipeline":
                self.pipeline(value)
            elif key in ("sort", "projection", "fields", "hint"):
                self.plain(value, key)
            elif key == "explain" and isinstance(value, Document):
                self.check(value)

    def query(self, value):
        """Every $ key is of the subset, wherever it stands."""
        if isinstance(value, Document):
            for key, inner in value:
                if key.startswith("$"):
                    self.require(key in QUERY, "an operator outside the subset", value)
                    self.use(key)
                self.query(inner)
        elif isinstance(value, Array):
            for inner in value:
                self.query(inner)

    def update(self, value):
        self.require(isinstance(value, Document) and len(value) > 0, "no update", value)
        for key, inner in value if isinstance(value, Document) else []:
            self.require(key in UPDATE, "an update outside the subset", value)
            self.use(key)
            self.require(isinstance(inner, Document), "an operator without its document", value)
            for path, operand in inner if isinstance(inner, Document) else []:
                self.require(not path.startswith("$") and ".$" not in path, "a positional path", value)
                if key == "$push" and isinstance(operand, Document) and operand and operand[0][0].startswith("$"):
                    self.require({name for name, _ in operand} <= {"$each", "$slice"}, "a $push outside the subset", value)
                    self.stored(operand.get("$each"))
                elif key == "$currentDate" and isinstance(operand, Document):
                    self.require([name for name, _ in operand] == ["$type"], "a $currentDate outside the subset", value)
                else:
                    self.stored(operand)

    def stored(self, value):
        if isinstance(value, Document):
            for key, inner in value:
                self.require(not key.startswith("$") and "." not in key and key != "", "a key that may not be stored", value)
                self.stored(inner)
        elif isinstance(value, Array):
            for inner in value:
                self.stored(inner)

    def plain(self, value, what):
        if isinstance(value, str):
            return
        for key, inner in value:
            self.require(not key.startswith("$") and isinstance(inner, (int, float)), f"an operator in a {what}", value)

    def pipeline(self, stages):
        for stage in stages:
            for key, inner in stage:
                if key == "$match":
                    self.query(inner)
                elif key == "$group":  # how a driver counts, and how tasks are counted by fields that the program names
                    by = dict(inner).get("_id")
                    own = isinstance(by, list) and all(path in COUNTED_BY for _, path in by)
                    self.require(inner == [("_id", by), ("n", [("$sum", 1)])] and (by == 1 or own), "a $group", stage)
                else:
                    self.require(key in ("$sort", "$skip", "$limit") and not isinstance(inner, str), "a stage", stage)


def check_the_checker():
    """It must be able to fail."""
    bad = [[("find", "x"), ("filter", Document([("$where", "1")]))],
           [("find", "x"), ("filter", Document([("a", Document([("$in", Array([Document([("$expr", 1)])]))]))]))],
           [("insert", "x"), ("documents", Array([Document([("a", Document([("$gt", 1)]))])]))],
           [("update", "x"), ("updates", Array([Document([("q", Document()), ("u", Document([("a", 1)]))])]))],
           [("update", "x"), ("updates", Array([Document([("q", Document()), ("u", Array())])]))],
           [("aggregate", "x"), ("pipeline", Array([Document([("$out", "y")])]))], [("eval", "x")],
           [("aggregate", "x"), ("pipeline", Array([Document([("$group", Document([("_id", Document([("v0", "$x")])),
                                                                                  ("n", Document([("$sum", 1)]))]))])]))],
           [("find", "x"), ("sort", Document([("a", Document([("$meta", "x")]))]))]]
    for command in bad:
        checker = Checker()
        checker.check(Document(command))
        assert checker.wrong, f"not noticed: {command}"


class Program:
    def __init__(self, build, folder, uri):
        self.path, self.folder = str(pathlib.Path(build).resolve() / "bin" / "tl_hub"), folder
        self.environment = {key: value for key, value in os.environ.items() if not key.startswith(("TL_HUB", "XDG"))}
        self.environment.update(TL_HUB_URI=uri, HOME=str(folder), LC_ALL="C.UTF-8", MONGOC_DISABLE_SHM="1")

    def run(self, *arguments):
        return subprocess.run([self.path, *arguments], stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=subprocess.PIPE,
                              cwd=self.folder, env=self.environment, timeout=60)

    def must(self, *arguments):
        done = self.run(*arguments)
        assert done.returncode == 0, f"tl_hub {arguments}: {done.returncode} {done.stderr}"
        return done.stdout.decode()

    def verbs(self):
        return re.findall(r"^  ([a-z-]+)  +\S", self.must("help").split("\nA first tour")[0], re.M)

    def options(self, verb):
        """The options that take a value, and whether there are arguments."""
        text = self.must("help", verb)
        usage = text.splitlines()[0]
        return (re.findall(r"^ +(?:-\w, )?(--[a-z-]+) [A-Z]", text, re.M),
                bool(re.search(re.escape(verb) + r" \S*[A-Z]", usage.replace("[options]", ""))))


def attacks(program, every):
    """Argument lists: for each option of each verb some of the words, so that all of them come again and again."""
    turn = 0
    for verb in program.verbs():
        if verb in ("version", "help"):
            continue
        options, has_arguments = program.options(verb)
        places = [[option] for option in options if option not in NEVER] + ([[]] if has_arguments else [])
        for place in places:
            share = len(WORDS) if every else 34 if place in (["--where"], ["--filter"]) and verb == "find-task" else 5
            for _ in range(share):
                word = WORDS[turn % len(WORDS)]
                turn += 1
                needs = [] if place == [] or (place[0] == "--timeout") else NEEDS.get(verb, [])
                if place == [] and verb == "import":
                    needs = []
                yield [verb, *needs, *place, word]
        turn += 5  # not the same words for the same place everywhere


def prepare(program):
    make_idx = SOURCE / "tests" / "cli" / "make_idx.py"
    subprocess.run([sys.executable, str(make_idx), str(program.folder / "data")], check=True)
    header = b'{"w": {"dtype": "F32", "shape": [1], "data_offsets": [0, 4]}}'
    (program.folder / "w.safetensors").write_bytes(struct.pack("<Q", len(header)) + header + b"\0" * 4)
    for project in ("default", "sentinel"):
        program.must("init", "--project", project)
        of = ["--project", project]
        program.must("save-dataset", "tiny", "--idx", "data", *of)
        program.must("save-architecture", "small", "dense:8:relu dense:4", *of)
        program.must("save-model", "w.safetensors", "--name", "kept", "--tag", "t", *of)
        program.must("create-task", "--dataset", "tiny", "--architecture", "small", "--name", "waiting", *of)
        program.must("pause-task", "waiting", *of)
        program.must("save-log", "--name", "log", "--set", "loss=1", *of)
    program.must("export", "hub.tl", "--project", "default") if "export" in program.verbs() else None


def sentinel(program):
    found = {}
    for verb in ("find-dataset", "find-architecture", "find-model", "find-task", "find-log"):
        found[verb] = json.loads(program.must(verb, "--project", "sentinel", "-o", "json"))
        assert found[verb], f"{verb}: nothing in the other project"
    return found


def attack_once(program, arguments):
    """What is wrong with how it went, or None."""
    try:
        done = program.run(*arguments)
    except subprocess.TimeoutExpired:
        return f"{arguments}: takes more than a minute"
    if done.returncode not in EXITS:
        return f"{arguments}: exit code {done.returncode}: {done.stderr[-300:]!r}"
    if b"AddressSanitizer" in done.stderr or b"runtime error" in done.stderr:
        return f"{arguments}: {done.stderr[:2000]!r}"
    return None


def attack(program, every, extra=lambda: None):
    (program.folder / "data").mkdir()
    prepare(program)
    before = sentinel(program)
    extra()
    with ThreadPoolExecutor(4) as pool:
        results = list(pool.map(lambda arguments: attack_once(program, arguments), attacks(program, every)))
    count, problems = len(results), [problem for problem in results if problem]
    program.run("run-task", "--until-empty", "--workers", "2", "--quiet", "--device", "ref")
    assert sentinel(program) == before, "the documents of another project have changed"
    for problem in problems[:20]:
        print(problem, file=sys.stderr)
    return count, len(problems)


def on_mongodb(build, every):
    folder = pathlib.Path(tempfile.mkdtemp(prefix="tl_hub-operators-"))
    server = str(SOURCE / "tests" / "support" / "mongo-server")
    started = subprocess.run([server, "start", str(folder / "server"), "--parent", str(os.getpid())], stdout=subprocess.PIPE, text=True)
    if started.returncode == 77:
        print("SKIPPED on MongoDB: no server can be had here", file=sys.stderr)
        return 1 if os.environ.get("CI") else 77
    assert started.returncode == 0, "the test server did not start"
    try:
        named = started.stdout.strip().splitlines()[-1]
        host, port = address(named)
        checker = Checker()
        recorder = Recorder(host, port, checker.seen)
        (folder / "work").mkdir()
        program = Program(build, folder / "work", with_database(named, f"tl_operators_{os.getpid()}", "", f"127.0.0.1:{recorder.port}"))
        count, problems = attack(program, every)
        print(f"MongoDB: {count} attacks, {checker.count} commands seen, {len(checker.wrong)} wrong, {problems} problems")
        print("  commands", dict(sorted(checker.names.items())))
        print("  operators", dict(sorted(checker.operators.items())))
        for wrong in checker.wrong[:20]:
            print(wrong, file=sys.stderr)
        assert checker.count > count / 2 and {"$set", "$in", "$ne"} <= set(checker.operators), "the recorder saw too little"
        return 1 if checker.wrong or problems else 0
    finally:
        subprocess.run([server, "stop", str(folder / "server")], check=False)
        subprocess.run(["rm", "-rf", str(folder)], check=False)


def schema(path):
    with sqlite3.connect(path) as connection:
        return connection.execute("SELECT type, name, tbl_name FROM sqlite_schema ORDER BY 1, 2").fetchall()


def on_sqlite(build, every):
    folder = pathlib.Path(tempfile.mkdtemp(prefix="tl_hub-operators-"))
    try:
        path, before = folder / "it's \"a\" hub; --.db", []
        program = Program(build, folder, f"sqlite:{path}")
        count, problems = attack(program, every, lambda: before.extend(schema(path)))
        after = schema(path)
        lost = [row for row in before if row not in after]
        known = re.compile(r'(c_[a-z.]+|m_[a-z.]+|i_[a-z_.:]+|im?_.*|hub_indexes|sqlite_autoindex_.*|sqlite_stat1)$')
        odd = [row for row in after if not known.match(row[1])]
        with sqlite3.connect(path) as connection:
            whole = connection.execute("PRAGMA integrity_check").fetchone()[0]
        print(f"SQLite: {count} attacks, {problems} problems, {len(after)} tables and indexes, {whole}")
        for row in lost + odd:
            print(f"in the schema: {row}", file=sys.stderr)
        return 1 if problems or lost or odd or whole != "ok" else 0
    finally:
        subprocess.run(["rm", "-rf", str(folder)], check=False)


def main():
    if len(sys.argv) < 2:
        sys.exit(__doc__)
    every = len(sys.argv) > 2
    check_the_checker()
    sqlite_result = on_sqlite(sys.argv[1], every)
    mongodb_result = on_mongodb(sys.argv[1], every)
    sys.exit(sqlite_result or mongodb_result)


if __name__ == "__main__":
    main()
