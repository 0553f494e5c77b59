#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
"""A scripted stub of MongoDB's wire protocol, for the errors that a healthy server never gives.

usage: wire_stub.py SCRIPT [SECONDS]

Prints its loopback port. Answers the handshake (hello, isMaster) as a standalone server of wire versions 0..17, ping and
endSessions with ok, explain with a plan, and every other command by the first rule of SCRIPT that still applies, else with ok: 1, n: 1.
SCRIPT is rules divided by ';':   COMMAND CODE NAME [TIMES]     for example
    find 13 Unauthorized; insert 10107 NotWritablePrimary 2; update wc:64 WriteConcernFailed; auth 18 AuthenticationFailed
COMMAND '*' is any. CODE "wc:N" answers ok: 1 with a writeConcernError N; CODE "close" closes the connection instead of
answering. "hello set:NAME x" makes it a replica set's primary, whose aggregate opens a change stream; "getMore change x"
lets one event come (with TIMES, so many; before it, none for 50 ms each); "getMore wait x" answers with none when the time
that the getMore allows has passed, as a server does. TIMES bounds a rule (default: always). At the end it prints one line a command name with how often it came.
Ends by itself after SECONDS (default 120) or when its standard input closes.
"""
import asyncio
import collections
import os
import struct
import sys
import time


def cstring(text):
    return text.encode() + b"\0"


def encode(document):
    """The few BSON types that answers need: double, string, document, array, bool, date (as a tuple), int32, int64."""
    body = b""
    for key, value in document.items():
        name = cstring(key)
        if isinstance(value, bool):
            body += b"\x08" + name + bytes([value])
        elif isinstance(value, float):
            body += b"\x01" + name + struct.pack("<d", value)
        elif isinstance(value, int):
            body += b"\x10" + name + struct.pack("<i", value)
        elif isinstance(value, str):
            text = cstring(value)
            body += b"\x02" + name + struct.pack("<i", len(text)) + text
        elif isinstance(value, tuple):
            body += b"\x09" + name + struct.pack("<q", value[0])
        elif isinstance(value, list):
            body += b"\x04" + name + encode({str(i): v for i, v in enumerate(value)})
        else:
            body += b"\x03" + name + encode(value)
    return struct.pack("<i", len(body) + 5) + body + b"\0"


def first_key(bson):
    """The command's name: the first key of its document."""
    return bson[5:bson.index(b"\0", 5)].decode()


def wait_of(bson):
    """Seconds: maxTimeMS of a getMore, int32 or int64."""
    at = bson.index(b"maxTimeMS\0")
    size = 8 if bson[at - 1] == 0x12 else 4
    return int.from_bytes(bson[at + 10:at + 10 + size], "little") / 1000


def hello():
    return {"ismaster": True, "isWritablePrimary": True, "maxBsonObjectSize": 16777216,
            "maxMessageSizeBytes": 48000000, "maxWriteBatchSize": 100000, "localTime": (int(time.time() * 1000),),
            "minWireVersion": 0, "maxWireVersion": 17, "readOnly": False, "ok": 1.0}


def explanation():
    """What a mongod says of a find that an index serves, in order."""
    scan = {"stage": "IXSCAN", "keyPattern": {"a": 1}, "indexName": "served", "direction": "forward"}
    return {"queryPlanner": {"winningPlan": {"stage": "LIMIT", "inputStage": {"stage": "FETCH", "inputStage": scan}},
                             "rejectedPlans": [{"stage": "SORT", "inputStage": {"stage": "COLLSCAN"}}]},
            "executionStats": {"nReturned": 1, "totalKeysExamined": 2, "totalDocsExamined": 1}, "ok": 1.0}


class Stub:
    def __init__(self, script):
        self.rules = []
        for line in filter(None, (part.strip() for part in script.split(";"))):
            command, code, name, *times = line.split()
            self.rules.append([command, code, name, int(times[0]) if times else -1])
        self.seen = collections.Counter()

    def answer(self, command):
        self.seen[command] += 1
        replica = [rule[1][4:] for rule in self.rules if rule[0] == "hello" and rule[1].startswith("set:")]
        if command.lower() in ("hello", "ismaster"):
            return hello() | ({"setName": replica[0], "hosts": [self.address], "me": self.address} if replica else {})
        if replica and command == "aggregate":
            return {"cursor": {"id": 77, "ns": "stub.tasks", "firstBatch": []}, "ok": 1.0}
        for rule in self.rules:
            if rule[0] in (command, "*") and rule[3] != 0 and command not in ("endSessions",):
                rule[3] -= rule[3] > 0
                if rule[1] == "close":
                    return None
                if rule[1] == "wait":
                    return {"cursor": {"id": 77, "ns": "stub.tasks", "nextBatch": []}, "ok": 1.0, "wait": True}
                if rule[1] == "change":
                    return {"cursor": {"id": 77, "ns": "stub.tasks", "nextBatch": [
                        {"_id": {"_data": "1"}, "operationType": "insert"}]}, "ok": 1.0}
                if rule[1].startswith("wc:"):
                    return {"ok": 1.0, "n": 1, "nModified": 1,
                            "writeConcernError": {"code": int(rule[1][3:]), "codeName": rule[2], "errmsg": rule[2]}}
                return {"ok": 0.0, "errmsg": f"scripted {rule[2]}", "code": int(rule[1]), "codeName": rule[2]}
        if command in ("find", "aggregate", "listCollections", "listIndexes"):
            return {"cursor": {"id": 0, "ns": "stub.stub", "firstBatch": []}, "ok": 1.0}
        if command == "getMore":
            time.sleep(0.05)
            return {"cursor": {"id": 77, "ns": "stub.tasks", "nextBatch": []}, "ok": 1.0}
        if command == "explain":
            return explanation()
        return {"ok": 1.0, "n": 1}

    async def client(self, reader, writer):
        try:
            while True:
                length, request_id, _, code = struct.unpack("<iiii", await reader.readexactly(16))
                body = await reader.readexactly(length - 16)
                if code == 2013:  # OP_MSG: flags, then section 0
                    reply = self.answer(first_key(body[5:]))
                    if reply and reply.pop("wait", False):
                        await asyncio.sleep(wait_of(body))
                    out = None if reply is None else struct.pack("<iB", 0, 0) + encode(reply)
                    kind = 2013
                elif code == 2004:  # OP_QUERY: flags, collection, skip, return, document
                    at = body.index(b"\0", 4) + 9
                    reply = self.answer(first_key(body[at:]))
                    out = None if reply is None else struct.pack("<iqii", 8, 0, 0, 1) + encode(reply)
                    kind = 1
                else:
                    break
                if out is None:
                    break
                writer.write(struct.pack("<iiii", len(out) + 16, 1, request_id, kind) + out)
                await writer.drain()
        except (OSError, asyncio.IncompleteReadError):
            pass
        finally:
            writer.close()


async def main(script, seconds):
    stub = Stub(script)
    server = await asyncio.start_server(stub.client, "127.0.0.1", 0)
    stub.address = "127.0.0.1:%d" % server.sockets[0].getsockname()[1]
    print(server.sockets[0].getsockname()[1], flush=True)
    loop, ended = asyncio.get_running_loop(), asyncio.Event()
    loop.add_reader(sys.stdin, lambda: sys.stdin.buffer.read1(1024) or ended.set())
    try:
        await asyncio.wait_for(ended.wait(), seconds)
    except asyncio.TimeoutError:
        pass
    for command, times in sorted(stub.seen.items()):
        print(command, times, flush=True)
    os._exit(0)  # open connections are not worth waiting for


if __name__ == "__main__":
    if len(sys.argv) not in (2, 3):
        sys.exit(__doc__)
    asyncio.run(main(sys.argv[1], float(sys.argv[2]) if len(sys.argv) == 3 else 120))
