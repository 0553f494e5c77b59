# SPDX-License-Identifier: Apache-2.0
"""A hub read without any of tl_hub's code: BSON, the SQLite file, and as much of MongoDB's wire protocol as it takes to
read a collection. So that what checks the hub cannot share a mistake with what wrote it."""
import socket
import sqlite3
import struct
import urllib.parse


class Oid(str):
    """An ObjectId, as 24 hex digits."""


def decode(data, at=0, array=False):
    """(document, end). Dates are integers of milliseconds, binaries are bytes."""
    (length,) = struct.unpack_from("<i", data, at)
    end, at, out = at + length - 1, at + 4, {}
    while at < end:
        kind = data[at]
        stop = data.index(b"\0", at + 1)
        name, at = data[at + 1:stop].decode(), stop + 1
        if kind == 0x01:
            value, at = struct.unpack_from("<d", data, at)[0], at + 8
        elif kind == 0x02:
            (size,) = struct.unpack_from("<i", data, at)
            value, at = data[at + 4:at + 3 + size].decode(), at + 4 + size
        elif kind in (0x03, 0x04):
            value, at = decode(data, at, kind == 0x04)
        elif kind == 0x05:
            (size,) = struct.unpack_from("<i", data, at)
            value, at = bytes(data[at + 5:at + 5 + size]), at + 5 + size
        elif kind == 0x07:
            value, at = Oid(data[at:at + 12].hex()), at + 12
        elif kind == 0x08:
            value, at = data[at] != 0, at + 1
        elif kind in (0x09, 0x11, 0x12):
            value, at = struct.unpack_from("<q", data, at)[0], at + 8
        elif kind == 0x0A:
            value = None
        elif kind == 0x10:
            value, at = struct.unpack_from("<i", data, at)[0], at + 4
        else:
            raise ValueError(f"BSON type {kind:#x} at {name}")
        out[name] = value
    return (list(out.values()) if array else out), end + 1


def encode(document):
    body = b""
    items = enumerate(document) if isinstance(document, list) else document.items()
    for name, value in items:
        key = str(name).encode() + b"\0"
        if isinstance(value, bool):
            body += b"\x08" + key + bytes([value])
        elif isinstance(value, int):
            body += b"\x12" + key + struct.pack("<q", value)
        elif isinstance(value, float):
            body += b"\x01" + key + struct.pack("<d", value)
        elif isinstance(value, Oid):
            body += b"\x07" + key + bytes.fromhex(value)
        elif isinstance(value, str):
            text = value.encode() + b"\0"
            body += b"\x02" + key + struct.pack("<i", len(text)) + text
        elif isinstance(value, bytes):
            body += b"\x05" + key + struct.pack("<i", len(value)) + b"\0" + value
        elif value is None:
            body += b"\x0a" + key
        else:
            body += (b"\x04" if isinstance(value, list) else b"\x03") + key + encode(value)
    return struct.pack("<i", len(body) + 5) + body + b"\0"


class SqliteHub:
    """The BSON column of each collection's table."""

    def __init__(self, path):
        # Not read-only: a killed writer leaves a journal, which the next who opens the file must be able to play back.
        self.connection = sqlite3.connect(path, timeout=30, isolation_level=None)

    def read(self, collection, without=()):
        try:
            rows = self.connection.execute(f'SELECT bson FROM "c_{collection}"').fetchall()
        except sqlite3.OperationalError as error:
            if "no such table" in str(error):
                return []
            raise
        return [decode(row[0])[0] for row in rows]

    def check_file(self):
        return [row[0] for row in self.connection.execute("PRAGMA integrity_check") if row[0] != "ok"]

    # For the tests of the checker, which make hubs by hand.
    def write(self, collection, document):
        self.connection.execute(f'CREATE TABLE IF NOT EXISTS "c_{collection}"(id BLOB, bson BLOB)')
        self.connection.execute(f'INSERT INTO "c_{collection}" VALUES(?, ?)', (b"", encode(document)))

    def close(self):
        self.connection.close()


class MongoHub:
    def __init__(self, uri):
        parts = urllib.parse.urlsplit(uri)
        self.database = parts.path.strip("/")
        self.socket = socket.create_connection((parts.hostname, parts.port or 27017), timeout=60)
        self.number = 0

    def command(self, document):
        self.number += 1
        body = struct.pack("<I", 0) + b"\0" + encode({**document, "$db": self.database})
        self.socket.sendall(struct.pack("<iiii", 16 + len(body), self.number, 0, 2013) + body)
        length = struct.unpack("<i", self._take(4))[0]
        reply = self._take(length - 4)
        answer = decode(reply, 12 + 4 + 1)[0]
        if answer.get("ok") != 1:
            raise OSError(f"{next(iter(document))}: {answer}")
        return answer

    def _take(self, count):
        data = b""
        while len(data) < count:
            part = self.socket.recv(count - len(data))
            if not part:
                raise OSError("the server closed the connection")
            data += part
        return data

    def read(self, collection, without=()):
        command = {"find": collection, "batchSize": 100}
        if without:
            command["projection"] = {name: 0 for name in without}
        cursor = self.command(command)["cursor"]
        found = cursor["firstBatch"]
        while cursor["id"]:
            cursor = self.command({"getMore": cursor["id"], "collection": collection, "batchSize": 100})["cursor"]
            found += cursor["nextBatch"]
        return found

    def check_file(self):
        return []

    def close(self):
        self.socket.close()


def open_hub(uri):
    return SqliteHub(uri[len("sqlite:"):]) if uri.startswith("sqlite:") else MongoHub(uri)
