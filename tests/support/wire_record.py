# SPDX-License-Identifier: Apache-2.0
"""What a program says to a MongoDB server, read off the wire by code of its own: a decoder of BSON and of OP_MSG and
OP_QUERY messages, and a proxy on loopback that gives every command to a callback on its way to the server."""
import asyncio
import struct
import threading

FIXED = {0x01: 8, 0x07: 12, 0x08: 1, 0x09: 8, 0x10: 4, 0x11: 8, 0x12: 8, 0x13: 16, 0x06: 0, 0x0A: 0, 0xFF: 0, 0x7F: 0}
NUMBERS = {0x01: "<d", 0x08: "<?", 0x10: "<i", 0x12: "<q"}


class Document(list):
    """(key, value) pairs, in order; keys may come twice, and nothing is made of a leading $."""

    def get(self, key):
        return next((value for name, value in self if name == key), None)


class Array(list):
    """Values, in order."""


def decode(data, at=0):
    """The document at this place, and where it ends."""
    (length,) = struct.unpack_from("<i", data, at)
    end, at, out = at + length, at + 4, Document()
    while data[at]:
        kind = data[at]
        stop = data.index(b"\0", at + 1)
        key = data[at + 1:stop].decode("utf-8", "surrogateescape")
        value, at = decode_value(kind, data, stop + 1)
        out.append((key, value))
    assert at + 1 == end, "a document whose length is wrong"
    return out, end


def decode_value(kind, data, at):
    if kind in (0x03, 0x04):
        inner, at = decode(data, at)
        return (Array(value for _, value in inner) if kind == 0x04 else inner), at
    if kind == 0x02:
        (length,) = struct.unpack_from("<i", data, at)
        return data[at + 4:at + 3 + length].decode("utf-8", "surrogateescape"), at + 4 + length
    if kind == 0x05:
        (length,) = struct.unpack_from("<i", data, at)
        return data[at + 5:at + 5 + length], at + 5 + length
    if kind in FIXED:
        raw = data[at:at + FIXED[kind]]
        return (struct.unpack(NUMBERS[kind], raw)[0] if kind in NUMBERS else None if kind == 0x0A else raw), at + len(raw)
    raise ValueError(f"a value of type 0x{kind:02x}, which the store does not hold")


def command_of(code, body):
    """The command in a message's body (what follows the 16 bytes of its head), with the documents that travel beside it
    put back where they belong."""
    if code == 2004:
        return decode(body, body.index(b"\0", 4) + 9)[0]
    assert code == 2013, f"a message of kind {code}"
    (flags,) = struct.unpack_from("<I", body, 0)
    at, stop, command, beside = 4, len(body) - (4 if flags & 1 else 0), None, []
    while at < stop:
        if body[at] == 0:
            command, at = decode(body, at + 1)
            continue
        (length,) = struct.unpack_from("<i", body, at + 1)
        end, name_end = at + 1 + length, body.index(b"\0", at + 5)
        documents, at_document = Array(), name_end + 1
        while at_document < end:
            document, at_document = decode(body, at_document)
            documents.append(document)
        beside.append((body[at + 5:name_end].decode(), documents))
        at = end
    command.extend(beside)
    return command


class Recorder:
    """A proxy to host:port; seen(command) is called, in a thread of its own, for every command. .port is where it listens."""

    def __init__(self, host, port, seen):
        self.target, self.seen, self.ready = (host, port), seen, threading.Event()
        threading.Thread(target=lambda: asyncio.run(self.serve()), daemon=True).start()
        self.ready.wait()

    async def serve(self):
        server = await asyncio.start_server(self.client, "127.0.0.1", 0)
        self.port = server.sockets[0].getsockname()[1]
        self.ready.set()
        await server.serve_forever()

    async def client(self, reader, writer):
        try:
            up_reader, up_writer = await asyncio.open_connection(*self.target)
        except OSError:
            writer.close()
            return
        await asyncio.gather(self.requests(reader, up_writer), self.copy(up_reader, writer), return_exceptions=True)
        for end in (writer, up_writer):
            end.close()

    async def requests(self, reader, writer):
        try:
            while True:
                head = await reader.readexactly(16)
                length, _, _, code = struct.unpack("<iiii", head)
                body = await reader.readexactly(length - 16)
                self.seen(code, body)
                writer.write(head + body)
                await writer.drain()
        finally:
            writer.close()

    @staticmethod
    async def copy(reader, writer):
        try:
            while data := await reader.read(1 << 16):
                writer.write(data)
                await writer.drain()
        finally:
            writer.close()
