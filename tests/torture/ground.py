# SPDX-License-Identifier: Apache-2.0
"""Where a scenario takes place: a fresh hub on one engine, the processes that work on it, their histories, and the
verdict. Nothing here knows of a particular fault."""
import itertools
import os
import pathlib
import random
import shutil
import signal
import subprocess
import sys
import time

import checker
import raw_hub

SOURCE = pathlib.Path(__file__).resolve().parents[2]
SUPPORT = SOURCE / "tests" / "support"
sys.path.insert(0, str(SUPPORT))
from server_uri import address, with_database  # noqa: E402

OPEN = {"ready", "delayed", "waiting", "running"}


class Failed(Exception):
    """What should have happened did not."""


class Server:
    """The MongoDB server for all grounds: named, mongod, or the stand-in (tests/support/mongo-server)."""

    def __init__(self, folder, persist=False):
        self.folder, self.persist = folder, persist
        self.port = 0
        self.uri = None

    def start(self, clock=None):
        """False where no server can be had."""
        command = [str(SUPPORT / "mongo-server"), "start", str(self.folder), "--parent", str(os.getpid()),
                   "--lifetime", "7200"]
        if self.port:
            command += ["--port", str(self.port)]
        if self.persist:
            command.append("--persist")
        # Small, so that tests that run beside each other find room; "-Xmx2g" only for what needs it.
        environment = {**os.environ, **(clock or {})}
        done = subprocess.run(command, stdout=subprocess.PIPE, text=True, env=environment)
        if done.returncode == 77:
            return False
        if done.returncode:
            raise Failed("the MongoDB server did not start")
        self.uri = done.stdout.strip().splitlines()[-1].rstrip("/")
        if "@" in self.uri or self.uri.startswith("mongodb+srv"):
            raise Failed("the checker speaks the wire protocol itself, and no authentication: name a server without")
        self.port = address(self.uri)[1]
        return True

    def stop(self):
        subprocess.run([str(SUPPORT / "mongo-server"), "stop", str(self.folder)], check=True)

    def is_ours(self):
        return not os.environ.get("TL_TEST_MONGODB_URI")


class Proxy:
    """tests/support/proxy.py before a server."""

    def __init__(self, uri):
        host = "{}:{}".format(*address(uri))
        self.process = subprocess.Popen([sys.executable, str(SUPPORT / "proxy.py"), host, "3600"],
                                        stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)
        self.port, control = self.process.stdout.readline().split()
        import socket
        self.control = socket.create_connection(("127.0.0.1", int(control))).makefile("rw")

    def tell(self, command):
        self.control.write(command + "\n")
        self.control.flush()
        return self.control.readline().strip()

    def uri(self, uri):
        # Short limits, as a user on a bad network would set them; the rest of the hub's rules stay.
        database = uri.split("://")[1].split("/", 1)[1].split("?")[0]
        return with_database(uri, database, "serverSelectionTimeoutMS=1000&socketTimeoutMS=1500&connectTimeoutMS=500",
                             f"127.0.0.1:{self.port}")

    def close(self):
        self.process.stdin.close()
        self.process.wait()


class Ground:
    numbers = itertools.count()

    def __init__(self, world, engine, name, server=None, make=True):
        self.world, self.engine, self.name = world, engine, name
        self.folder = world.folder / f"{next(self.numbers):03d}-{engine}-{name}".replace("/", "_")
        self.histories = self.folder / "histories"
        self.histories.mkdir(parents=True)
        self.random = random.Random(f"{world.seed} {engine} {name}")
        self.processes = []
        self.server = server or world.server
        if engine == "sqlite":
            self.uri = f"sqlite:{self.folder}/hub.db"
        else:
            database = "".join(c if c.isalnum() else "_" for c in self.folder.name)[:40]
            self.uri = with_database(self.server.uri, f"torture_{os.getpid()}_{database}")
        if make:
            self.run("init")

    # ---- processes ----

    def environment(self, fault=None, once=None, clock_ms=None):
        environment = {**os.environ, "TL_HUB_HISTORY": str(self.histories), "MONGOC_DISABLE_SHM": "1"}
        environment.pop("TL_HUB_FAULT", None)
        if fault:
            environment["TL_HUB_FAULT"] = fault
        if once:
            environment["TL_HUB_FAULT_ONCE"] = str(self.folder / once)
        if clock_ms is not None:
            environment |= self.clock(clock_ms)
        return environment

    def clock(self, ms, name="clock"):
        """What shifts a process's wall clock; the file can be written again while it runs."""
        path = self.folder / f"{name}-{next(self.numbers)}"
        path.write_text(str(ms))
        return {"LD_PRELOAD": str(self.world.build / "tests" / "torture_clock.so"), "TORTURE_CLOCK": str(path),
                "ASAN_OPTIONS": os.environ.get("ASAN_OPTIONS", "") + ":verify_asan_link_order=0"}

    def start(self, *words, environment=None, group=False, output=None):
        log = open(output or self.folder / "output", "a")
        process = subprocess.Popen([str(w) for w in words], env=environment or self.environment(), stdin=subprocess.DEVNULL,
                                   stdout=log, stderr=log, cwd=self.folder, start_new_session=group)
        log.close()
        self.processes.append(process)
        return process

    def client(self, verb, fault=None, uri=None, environment=None, **options):
        words = [f"{key}={value}" for key, value in options.items()]
        return self.start(self.world.build / "tests" / "torture_client", verb, uri or self.uri, *words,
                          environment=environment or self.environment(fault))

    def run(self, verb, allowed=(0,), seconds=60, **options):
        process = self.client(verb, **options)
        status = self.wait(process, seconds)
        if status not in allowed:
            raise Failed(f"{verb} {options} ended with {status}: {self.last_words()}")
        return status

    def wait(self, process, seconds=60):
        try:
            return process.wait(seconds)
        except subprocess.TimeoutExpired:
            raise Failed(f"{' '.join(process.args[1:2])} hangs: still running after {seconds} s") from None

    def killed_at(self, process, point, seconds=30):
        """The process must have died where it was told to: else the run shows nothing."""
        status = self.wait(process, seconds)
        if status != -signal.SIGKILL or not self.was_at(process.pid, point):
            raise Failed(f"it should have been killed at {point} and ended with {status}: {self.last_words()}")

    def was_at(self, pid, point):
        return any(f" fault {point} " in path.read_text() for path in self.histories.glob(f"{pid}-*"))

    def stopped(self, process, seconds=30):
        """Waits until it has stopped itself."""
        self.until(lambda: pathlib.Path(f"/proc/{process.pid}/stat").read_text().rsplit(")", 1)[1].split()[0] in "TZX",
                   seconds, "it never stopped at its point")
        if process.poll() is not None:
            raise Failed(f"it should have stopped at its point and ended with {process.returncode}: {self.last_words()}")

    @staticmethod
    def until(condition, seconds, complaint):
        end = time.monotonic() + seconds
        while not condition():
            if time.monotonic() > end:
                raise Failed(f"{complaint} (waited {seconds} s)")
            time.sleep(0.02)

    def last_words(self):
        lines = (self.folder / "output").read_text(errors="replace").strip().splitlines()
        return lines[-1][:300] if lines else "it said nothing"

    # ---- the hub ----

    def read(self, collection, without=()):
        """The stand-in server drops a reader now and then, when a document changes while it writes the answer."""
        for again in range(4, -1, -1):
            try:
                hub = raw_hub.open_hub(self.uri)
                try:
                    return hub.read(collection, without)
                finally:
                    hub.close()
            except OSError:
                if not again:
                    raise
                time.sleep(0.1)

    def states(self):
        return {task["_id"]: task["state"] for task in self.read("tasks")}

    def events(self, phase, verb, result=None):
        """[(time in µs, words)] of all histories."""
        found = []
        for path in self.histories.iterdir():
            for line in path.read_text().splitlines():
                words = line.split()
                if len(words) >= 4 and words[2] == phase and words[3] == verb and (result is None or words[6:7] == [str(result)]):
                    found.append((int(words[0]), words))
        return sorted(found)

    def sweeper(self, lease, **more):
        return self.client("sweep", lease=lease, **more)

    def settle(self, lease, workers=2, seconds=60, sweeper=None, **work):
        """Work goes on, with a sweeper, until nothing is open; then everyone leaves."""
        sweeper = sweeper or self.sweeper(lease)
        helpers = [self.client("work", until_empty=1, lease=lease, seconds=seconds, **work) for _ in range(workers)]
        for helper in helpers:
            self.wait(helper, seconds + 10)

        def done():
            tasks = self.read("tasks")
            return not any(t["state"] in OPEN or t.get("published") is False for t in tasks)
        self.until(done, seconds, "tasks stay open or unpublished")
        sweeper.terminate()
        self.wait(sweeper)

    def judge(self, collect=True):
        """Everyone has left: gc, then the invariants. On a busy machine gc may not be able to watch an upload for its
        whole short lease without a gap, and then rightly leaves it: a longer lease makes sure."""
        for lease in (100, 500, 2500) if collect else (0,):
            if collect:
                self.run("gc", lease=lease, rounds=2)
            found = checker.check(self.uri, self.histories, quiet=True, collected=collect)
            if not found or not all(line.startswith("I6") for line in found):
                break
        if found:
            raise Failed("; ".join(found[:5]))

    def all_done(self):
        wrong = {task: state for task, state in self.states().items() if state != "done"}
        if wrong:
            raise Failed(f"not done: {wrong}")

    # ---- the end ----

    def leave(self, keep):
        for process in self.processes:
            if process.poll() is None:
                if os.getpgid(process.pid) == process.pid: # a runner and its workers, who may be stopped
                    os.killpg(process.pid, signal.SIGKILL)
                else:
                    process.kill()
                process.send_signal(signal.SIGCONT)
        for process in self.processes:
            process.wait()
        if not keep:
            if self.engine != "sqlite":
                self.drop()
            shutil.rmtree(self.folder, ignore_errors=True)

    def drop(self):
        try:
            hub = raw_hub.open_hub(self.uri)
            hub.command({"dropDatabase": 1})
            hub.close()
        except OSError:
            pass  # the scenario ended its server


class World:
    """What all grounds share."""

    def __init__(self, build, folder, seed, server):
        self.build, self.folder, self.seed, self.server = build, folder, seed, server
        self.runner = build / "bin" / "tl_hub"
