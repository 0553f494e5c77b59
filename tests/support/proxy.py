#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
"""A small TCP proxy that misbehaves on command, between a program and a MongoDB server.

usage: proxy.py HOST:PORT [SECONDS]

Prints "LISTEN CONTROL", two loopback ports: clients connect to the first; the second takes one command a line and answers
"ok". It ends by itself after SECONDS (default 600) or when its standard input closes.

  forward               as a wire (the start)
  delay MS              every reply comes MS later
  lose TEXT [N]         the next N (1) requests that contain TEXT are forwarded, the reply is swallowed, and the
                        connection is then closed: the write happened and nobody heard
  cut TEXT [N]          the same, but the request is swallowed: the write did not happen
  then COMMAND          when a lose or cut has come to its end: refuse or black-hole from then on
  black-hole            bytes are taken and go nowhere, both ways; connections stay open, new ones too
  reset                 every open connection is reset now; then forward
  refuse                open connections are closed, new ones closed at once
  count                 answers with how many requests were seen, how many lost or cut, and how many connections are open
"""
import asyncio
import os
import socket
import struct
import sys


class Proxy:
    def __init__(self, host, port):
        self.host, self.port = host, port
        self.mode, self.delay = "forward", 0.0
        self.text, self.left, self.swallow_request = b"", 0, False
        self.then = ""
        self.requests = self.dropped = 0
        self.connections = {}

    async def client(self, reader, writer):
        if self.mode == "refuse":
            writer.close()
            return
        try:
            server_reader, server_writer = await asyncio.open_connection(self.host, self.port)
        except OSError:
            writer.close()
            return
        connection = {"writers": (writer, server_writer), "mute": False}
        self.connections[id(connection)] = connection
        try:
            await asyncio.gather(self.upstream(connection, reader, server_writer),
                                 self.downstream(connection, server_reader, writer))
        except (OSError, asyncio.IncompleteReadError):
            pass
        finally:
            for end in connection["writers"]:
                end.close()
            self.connections.pop(id(connection), None)

    async def upstream(self, connection, reader, writer):
        """Whole wire messages, so that a request is forwarded or swallowed as one."""
        try:
            while True:
                head = await reader.readexactly(4)
                (length,) = struct.unpack("<i", head)
                body = await reader.readexactly(length - 4)
                self.requests += 1
                if self.mode == "black-hole":
                    continue
                if self.left > 0 and self.text in body:
                    self.left -= 1
                    self.dropped += 1
                    connection["mute"] = True
                    if self.left == 0 and self.then:
                        self.mode, self.then = self.then, ""
                    if self.swallow_request:
                        raise ConnectionResetError
                writer.write(head + body)
                await writer.drain()
        finally:
            writer.close()

    async def downstream(self, connection, reader, writer):
        try:
            while True:
                data = await reader.read(1 << 16)
                if not data:
                    return
                if self.mode == "black-hole":
                    continue
                if connection["mute"]:
                    raise ConnectionResetError
                if self.delay:
                    await asyncio.sleep(self.delay)
                writer.write(data)
                await writer.drain()
        finally:
            writer.close()

    def close_all(self, reset):
        for connection in list(self.connections.values()):
            for end in connection["writers"]:
                raw = end.get_extra_info("socket")
                if reset and raw is not None:
                    raw.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
                end.close()

    async def control(self, reader, writer):
        while line := await reader.readline():
            words = line.decode().split()
            answer = "ok"
            match words:
                case ["forward"]:
                    self.mode, self.delay, self.left, self.then = "forward", 0.0, 0, ""
                case ["delay", ms]:
                    self.delay = int(ms) / 1000
                case ["lose" | "cut" as kind, text, *number]:
                    self.text, self.left = text.encode(), int(number[0]) if number else 1
                    self.swallow_request = kind == "cut"
                case ["then", "refuse" | "black-hole" as mode]:
                    self.then = mode
                case ["black-hole"]:
                    self.mode = "black-hole"
                case ["reset"]:
                    self.mode = "forward"
                    self.close_all(True)
                case ["refuse"]:
                    self.mode = "refuse"
                    self.close_all(False)
                case ["count"]:
                    answer = f"{self.requests} {self.dropped} {len(self.connections)}"
                case _:
                    answer = "unknown command"
            writer.write(answer.encode() + b"\n")
            await writer.drain()
        writer.close()


async def main(target, seconds):
    host, port = target.rsplit(":", 1)
    proxy = Proxy(host, int(port))
    data = await asyncio.start_server(proxy.client, "127.0.0.1", 0)
    control = await asyncio.start_server(proxy.control, "127.0.0.1", 0)
    print(data.sockets[0].getsockname()[1], control.sockets[0].getsockname()[1], flush=True)
    loop, ended = asyncio.get_running_loop(), asyncio.Event()
    loop.add_reader(sys.stdin, lambda: sys.stdin.buffer.read1(1024) or ended.set())
    try:
        await asyncio.wait_for(ended.wait(), seconds)
    except asyncio.TimeoutError:
        pass
    os._exit(0)  # open connections are not worth waiting for


if __name__ == "__main__":
    if len(sys.argv) not in (2, 3):
        sys.exit(__doc__)
    asyncio.run(main(sys.argv[1], float(sys.argv[2]) if len(sys.argv) == 3 else 600))
