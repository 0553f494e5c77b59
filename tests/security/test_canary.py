#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
"""A canary: a secret in the hub's URI, through every verb, every way of naming a hub, and every error. It may be in nothing
that is printed, in no file, in no process list, and in nothing that goes to the server.

usage: test_canary.py BUILD_FOLDER
"""
import os
import pathlib
import re
import struct
import subprocess
import sys
import tempfile
import threading
import time

SOURCE = pathlib.Path(__file__).resolve().parent.parent.parent
SUPPORT = SOURCE / "tests" / "support"
sys.path.insert(0, str(SUPPORT))
from server_uri import address, with_database  # noqa: E402
from wire_record import Recorder  # noqa: E402

CANARY = "CANARY7f3a"
failures = []


def fail(what):
    failures.append(what)
    print(f"FAILED: {what[:600]}", file=sys.stderr)


def check(condition, what):
    if not condition:
        fail(what)


class Program:
    def __init__(self, build, folder):
        self.path, self.folder = str(pathlib.Path(build).resolve() / "bin" / "tl_hub"), folder
        self.environment = {key: value for key, value in os.environ.items() if not key.startswith(("TL_HUB", "XDG"))}
        self.environment.update(HOME=str(folder), LC_ALL="C.UTF-8", MONGOC_DISABLE_SHM="1", XDG_RUNTIME_DIR=str(folder))
        self.seen = 0

    def run(self, *arguments, uri=None, code=None, say=None):
        environment = {**self.environment, **({"TL_HUB_URI": uri} if uri else {})}
        done = subprocess.run([self.path, *arguments], stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=subprocess.PIPE,
                              cwd=self.folder, env=environment, timeout=120)
        self.seen += 1
        shown = [argument.replace(CANARY, "…") for argument in arguments]
        text = (done.stdout + done.stderr).decode("utf-8", "replace")
        check(CANARY not in text, f"tl_hub {shown} shows it: {text}")
        check(done.returncode >= 0, f"tl_hub {shown} ended by signal {-done.returncode}: {text}")
        if code is not None:
            check(done.returncode == code, f"tl_hub {shown}: exit code {done.returncode}, not {code}: {text}")
        if say is not None:
            check(say in text, f"tl_hub {shown} does not say '{say}': {text}")
        return done.stdout.decode("utf-8", "replace")


def write_idx(folder):
    (folder / "data").mkdir()
    subprocess.run([sys.executable, str(SOURCE / "tests" / "cli" / "make_idx.py"), str(folder / "data")], check=True)
    header = b'{"w": {"dtype": "F32", "shape": [1], "data_offsets": [0, 4]}}'
    (folder / "w.safetensors").write_bytes(struct.pack("<Q", len(header)) + header + b"\0" * 4)


class ProcessList(threading.Thread):
    """Reads the command lines of all processes until it is told to stop; .hits are those with the canary."""

    def __init__(self, program):
        super().__init__(daemon=True)
        self.program, self.hits, self.workers, self.ended = program, set(), set(), threading.Event()

    def run(self):
        while not self.ended.wait(0.01):
            for entry in os.listdir("/proc"):
                if not entry.isdigit() or int(entry) == os.getpid():
                    continue
                try:
                    with open(f"/proc/{entry}/cmdline", "rb") as file:
                        line = file.read()
                except OSError:
                    continue
                if not line.startswith(self.program.encode() + b"\0") and b"--worker-process" not in line:
                    continue
                if b"--worker-process" in line:
                    self.workers.add(entry)
                    if CANARY.encode() in line:
                        self.hits.add((entry, line))
                elif CANARY.encode() in line:
                    self.hits.add((entry, line)) if self.stays(entry) else None

    @staticmethod
    def stays(entry):
        """Between the start of a program and its first statement the list shows what was typed; not later."""
        time.sleep(0.5)
        try:
            with open(f"/proc/{entry}/cmdline", "rb") as file:
                return CANARY.encode() in file.read()
        except OSError:
            return False


def tour(program, uri):
    """Every verb at work, with the secret in the environment."""
    run = lambda *arguments, **more: program.run(*arguments, uri=uri, **more)  # noqa: E731
    run("init", code=0)
    run("save-dataset", "tiny", "--idx", "data", code=0)
    run("save-architecture", "net", "dense:8:relu dense:4", code=0)
    run("create-task", "--dataset", "tiny", "--architecture", "net", "--name", "one", "--set", "epochs=2", code=0)
    run("create-task", "--dataset", "tiny", "--architecture", "net", "--name", "bad", "--set", "epochs=2", "--set", "learning_rate=900",
        "--set", "optimizer=sgd", code=0)
    run("create-task", "--dataset", "tiny", "--architecture", "net", "--name", "long", "--set", "epochs=400", code=0)
    watcher = ProcessList(program.path)
    watcher.start()
    program.run("run-task", "--until-empty", "--workers", "2", "--hub", uri)
    watcher.ended.set()
    watcher.join()
    check(watcher.workers, "no worker was seen in the process list")
    check(not watcher.hits, f"in the process list: {watcher.hits}")
    for verb in ("find-task", "find-model", "find-dataset", "find-architecture", "find-log", "status", "doctor"):
        for form in ("table", "json", "csv"):
            run(verb, "-o", form)
    run("save-model", "w.safetensors", "--name", "mine", code=0)
    run("get-model", "mine", "-o", "out.safetensors")
    run("tag-model", "mine", "--add", "t")
    run("save-log", "--name", "l", "--set", "loss=1")
    for verb in ("cancel-task", "pause-task", "resume-task", "restart-task", "delete-task", "wait"):
        run(verb, "one")
    run("export", "hub.tl")
    run("import", "hub.tl", "--rename", "again")
    run("gc")
    for verb in re.findall(r"^  ([a-z-]+)  +\S", program.run("help"), re.M):
        if verb not in ("run-task", "wait", "watch", "help", "dashboard", "serve"):
            run(verb)
            run(verb, "nobody", "--project", "nowhere")


def ways(program, uri):
    """Every way of naming the hub."""
    program.run("find-task", "--hub", uri)
    program.run("find-task", f"--hub={uri}")
    program.run("find-task", "--hub", uri, "--hub-file", "x")
    hub_file, settings = program.folder / "hub-file", program.folder / "tl_hub.yaml"
    hub_file.write_text(uri + "\n")
    hub_file.chmod(0o644)
    program.run("find-task", "--hub-file", "hub-file", code=1, say="chmod 600")
    hub_file.chmod(0o600)
    program.run("status", "--hub-file", "hub-file", code=0)
    hub_file.unlink()
    for text in (f"hub: {uri}\n", f"hub: '{uri}\n", f"{uri}\n", f"hub: [{uri}]\n", f"hub: {uri}: x\n", f"hubb: {uri}\n", f"{uri}: x\n",
                 f"hub: !!int {uri}\n", f"project: {uri}\n", f"- {uri}\n"):
        settings.write_text(text)
        settings.chmod(0o600)
        program.run("find-task")
        program.run("doctor")
    settings.write_text(f"hub: {uri}\n")
    program.run("status", code=0)
    settings.chmod(0o604)
    program.run("status", code=1, say="chmod 600")
    settings.unlink()
    # Where none belongs.
    for arguments in ([uri], ["help", uri], ["find-task", uri], ["find-task", "--project", uri], ["wait", uri, uri], ["init", uri],
                      ["get-model", uri], ["save-dataset", uri, "--idx", uri], ["find-task", f"--hbu={uri}"], [f"--hub={uri}"],
                      ["find-task", "-o", uri], ["find-task", "--limit", uri], ["import", uri], ["find-task", "--where", uri],
                      ["find-task", "--filter", uri], ["create-task", "--sweep", uri], ["find-model", "--sort", uri],
                      ["run-task", "--device", uri], ["find-task", "--hub-file", uri], ["export", uri + "/x"]):
        program.run(*arguments)


def errors(program, host):
    """Every error on the way to a hub, by malformed URIs, absent servers, and servers that refuse."""
    quick = "serverSelectionTimeoutMS=200&connectTimeoutMS=200"
    c = CANARY
    uris = [f"mongodb://user:{c}@127.0.0.1:1/db?{quick}", f"mongodb://user:{c}@{host}/db?{quick}",
            f"mongodb://user:pa%2F{c}@{host}/db?{quick}", f"mongodb://user:pa/{c}@{host}/db", f"mongodb://user:p@{c}@{host}/db",
            f"mongodb://user:{c}", f"mongodb://user:{c}/db", f"mongodb://user:{c}@", f"mongodb://user:{c}%zz@{host}", f"mongodb:user:{c}@h",
            f"mongodb:/user:{c}@h", f"mongodb//user:{c}@h", f"user:{c}@{host}", f"mongo://user:{c}@{host}", f"http://user:{c}@{host}/",
            f"mongodb://{c}@{host}/db?{quick}", f"mongodb+srv://user:{c}@no.such.host.invalid/db?{quick}", f"MONGODB://user:{c}@{host}:x/",
            f"mongodb://{host}/?tlsCertificateKeyFilePassword={c}&{quick}", f"mongodb://{host}/?tls=true&tlsCertificateKeyFile=/none"
            f"&tlsCertificateKeyFilePassword={c}&{quick}", f"mongodb://{host}/?authMechanismProperties=AWS_SESSION_TOKEN:{c}&authMechanism=X",
            f"mongodb://user:{c}@{host}/db?authMechanism=PLAIN&{quick}", f"mongodb://user:{c}@{host}/db?authMechanism=SCRAM-SHA-256&{quick}",
            f"mongodb://{host}/db?tlsCertificateKeyFilePassword=a/{c}&b", f"mongodb://{host}/db?x=1;Password=a?{c}", f"mongodb://user:{c}@h:99999/",
            f"mongodb://user:{c}@{host}/db?w=nonsense&maxPoolSize=x", f"mongodb://user:{c}@{host}/a b", f"mongodb://user:{c} x@{host}/"]
    verbs = [["find-task"], ["status"], ["doctor"], ["init"], ["run-task", "--until-empty", "--workers", "1"], ["export", "x"], ["gc"],
             ["wait", "x"], ["save-dataset", "d", "--idx", "data"]]
    for i, uri in enumerate(uris):
        for j, verb in enumerate(verbs):
            if (i + j) % 3 == 0 or j == 0:  # each verb meets a third of them
                program.run(*verb, uri=uri)
        program.run("doctor", "--hub", uri)


def refusals(program):
    """Servers that say no in many ways."""
    for script in ("* 13 Unauthorized", "* 18 AuthenticationFailed", "find 10107 NotWritablePrimary", "* close x"):
        stub = subprocess.Popen([sys.executable, str(SUPPORT / "wire_stub.py"), script, "60"], stdin=subprocess.PIPE,
                                stdout=subprocess.PIPE, text=True)
        port = int(stub.stdout.readline())
        for credentials in (f"user:{CANARY}@", ""):
            uri = f"mongodb://{credentials}127.0.0.1:{port}/db?serverSelectionTimeoutMS=300&proxyPassword={CANARY}"
            for verb in (["find-task"], ["init"], ["doctor"], ["run-task", "--until-empty", "--workers", "1"]):
                program.run(*verb, uri=uri)
        stub.stdin.close()
        stub.wait()


def grep(folder):
    for path in pathlib.Path(folder).rglob("*"):
        if path.is_file() and CANARY.encode() in path.read_bytes():
            fail(f"in the file {path}")


def main(build):
    folder = pathlib.Path(tempfile.mkdtemp(prefix="tl_hub-canary-"))
    server = str(SUPPORT / "mongo-server")
    started = subprocess.run([server, "start", str(folder / "server"), "--parent", str(os.getpid())], stdout=subprocess.PIPE, text=True)
    if started.returncode == 77:
        print("SKIPPED: no MongoDB server can be had here", file=sys.stderr)
        return 1 if os.environ.get("CI") else 77
    assert started.returncode == 0, "the test server did not start"
    try:
        named = started.stdout.strip().splitlines()[-1]
        host, port = address(named)
        messages = []
        recorder = Recorder(host, port, lambda code, body: messages.append(CANARY.encode() in body))
        (folder / "work").mkdir()
        program = Program(build, folder / "work")
        write_idx(program.folder)
        # An option that libmongoc passes over: all goes well, and the secret is there the whole time.
        good = with_database(named, f"tl_canary_{os.getpid()}", f"proxyPassword={CANARY}", f"127.0.0.1:{recorder.port}")
        tour(program, good)
        check(len(messages) > 200, f"only {len(messages)} messages were seen")
        check(not any(messages), f"{sum(messages)} messages to the server hold it")
        ways(program, good)
        refusals(program)
        grep(program.folder)
        # PLAIN sends the password, as it must, so what follows is not recorded.
        errors(program, f"{host}:{port}")
        grep(program.folder)
        print(f"{program.seen} runs, {len(messages)} messages, {len(failures)} failures")
        return 1 if failures else 0
    finally:
        subprocess.run([server, "stop", str(folder / "server")], check=False)
        subprocess.run(["rm", "-rf", str(folder)], check=False)


if __name__ == "__main__":
    if len(sys.argv) != 2:
        sys.exit(__doc__)
    sys.exit(main(sys.argv[1]))
