#!/usr/bin/env python3
"""What a client of etcd's own rules may do on one connection, and what one that does not read can't prevent: the same
frames to the program under test and to a real etcd 3.6.

- streams over --max-concurrent-streams are refused one by one
- thousands of streams that are opened and reset within a second end nothing
- metadata of 64 KB passes; a value of 100 kB fails its call at most
- SIGTERM ends the member although a client with 3.6 MB to read does not read, and pings
"""

import pathlib
import signal
import socket
import struct
import subprocess
import sys
import time

sys.path.insert(0, str(pathlib.Path(__file__).resolve().parent.parent / "lib"))
from members import Failure, Member, drive, expect  # noqa: E402

DATA, HEADERS, RST_STREAM, SETTINGS, PING, GOAWAY, WINDOW_UPDATE, CONTINUATION = 0, 1, 3, 4, 6, 7, 8, 9
END_STREAM, END_HEADERS = 1, 4
REFUSED_STREAM, CANCEL = 7, 8
FRAME_MAX = 16384
STOP_SECONDS_MAX = 15


def number(n, prefix_max, first=0):
    if n < prefix_max:
        return bytes([first | n])
    out = bytes([first | prefix_max])
    n -= prefix_max
    while n >= 128:
        out += bytes([n % 128 + 128])
        n //= 128
    return out + bytes([n])


def block(path, metadata=()):
    """A header block of literals: it depends on no table."""
    fields = [(":method", "POST"), (":scheme", "http"), (":path", path), (":authority", "x"),
              ("content-type", "application/grpc"), ("te", "trailers"), *metadata]
    return b"".join(b"\0" + number(len(n), 127) + n.encode() + number(len(v), 127) + v.encode() for n, v in fields)


def field(tag, value):
    return bytes([tag << 3 | 2]) + varint(len(value)) + value


def varint(n):
    return (bytes([n % 128 + 128]) + varint(n // 128)) if n >= 128 else bytes([n])


def message(body):
    return b"\0" + struct.pack(">I", len(body)) + body


class Connection:
    def __init__(self, member, receive_buffer=None, window=65535):
        self.socket = socket.socket()
        if receive_buffer:
            self.socket.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, receive_buffer)
        self.socket.settimeout(10)
        self.socket.connect(("127.0.0.1", member.client_port))
        self.received = b""
        self.frames = []
        self.socket.sendall(b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n" + self.frame(SETTINGS, 0, 0, struct.pack(">HI", 4, window)))

    @staticmethod
    def frame(kind, flags, stream, payload=b""):
        return struct.pack(">I", len(payload))[1:] + bytes([kind, flags]) + struct.pack(">I", stream) + payload

    def send(self, kind, flags, stream, payload=b""):
        self.socket.sendall(self.frame(kind, flags, stream, payload))

    def request(self, stream, header_block, body=None, end=False):
        out, kind = b"", HEADERS
        while True:
            part, header_block = header_block[:FRAME_MAX], header_block[FRAME_MAX:]
            out += self.frame(kind, 0 if header_block else END_HEADERS, stream, part)
            kind = CONTINUATION
            if not header_block:
                break
        if body is not None:
            out += self.frame(DATA, END_STREAM if end else 0, stream, body)
        self.socket.sendall(out)

    def read_until(self, found):
        """Reads frames until one of them is found(kind, flags, stream, payload); Failure if the connection ends."""
        while True:
            while len(self.received) >= 9:
                length = int.from_bytes(self.received[:3], "big")
                if len(self.received) < 9 + length:
                    break
                kind, flags = self.received[3], self.received[4]
                stream = int.from_bytes(self.received[5:9], "big")
                payload = self.received[9:9 + length]
                self.received = self.received[9 + length:]
                self.frames.append((kind, flags, stream, payload))
                if kind == SETTINGS and not flags & 1:
                    self.send(SETTINGS, 1, 0)
                if kind == GOAWAY:
                    raise Failure(f"GOAWAY {payload}")
                if found(kind, flags, stream, payload):
                    return
            more = self.socket.recv(65536)
            if not more:
                raise Failure("the connection was closed")
            self.received += more

    def settle(self):
        """All that was sent before has had its effect. Twice, since an answer to a ping may overtake others."""
        for mark in (b"settled1", b"settled2"):
            self.send(PING, 0, 0, mark)
            self.read_until(lambda kind, flags, stream, payload: kind == PING and flags & 1 and payload == mark)

    def resets(self):
        return {s: int.from_bytes(p, "big") for k, _, s, p in self.frames if k == RST_STREAM}


def streams_over_the_limit(member):
    c = Connection(member)
    c.read_until(lambda kind, flags, stream, payload: kind == SETTINGS and flags & 1)
    for stream in range(1, 11, 2):
        c.request(stream, block("/etcdserverpb.Watch/Watch"))
    c.settle()
    refused = {s: code for s, code in c.resets().items() if code == REFUSED_STREAM}
    expect(refused == {7: REFUSED_STREAM, 9: REFUSED_STREAM}, f"resets: {c.resets()}")
    c.send(RST_STREAM, 0, 1, struct.pack(">I", CANCEL))
    time.sleep(0.2)
    c.request(11, block("/etcdserverpb.Watch/Watch"))
    c.settle()
    expect(11 not in c.resets(), "a stream that ended made no room")


def many_resets(member):
    c = Connection(member)
    c.read_until(lambda kind, flags, stream, payload: kind == SETTINGS and flags & 1)
    stream = 1
    for _ in range(5):
        for _ in range(1000):
            c.request(stream, block("/etcdserverpb.Lease/LeaseKeepAlive"), message(b"\x08\x01"))
            c.send(RST_STREAM, 0, stream, struct.pack(">I", CANCEL))
            stream += 2
    c.request(stream, block("/etcdserverpb.KV/Range"), message(field(1, b"absent")), end=True)
    c.read_until(lambda kind, flags, s, payload: kind == DATA and s == stream)


def metadata(member, ours):
    c = Connection(member)
    c.read_until(lambda kind, flags, stream, payload: kind == SETTINGS and flags & 1)
    body = message(field(1, b"absent"))
    ordinary = [(f"meta{i}", "~" * 4000) for i in range(16)]
    c.request(1, block("/etcdserverpb.KV/Range", ordinary), body, end=True)
    c.read_until(lambda kind, flags, stream, payload: kind == DATA and stream == 1)
    c.request(3, block("/etcdserverpb.KV/Range", [("meta", "~" * 100_000)]), body, end=True)
    c.request(5, block("/etcdserverpb.KV/Range"), body, end=True)
    c.read_until(lambda kind, flags, stream, payload: kind == DATA and stream == 5)
    c.settle()
    answered = any(k == DATA and s == 3 for k, _, s, _ in c.frames)
    expect(answered == (not ours), "the long value is known to fail here and not there")
    expect(any(k == HEADERS and s == 3 for k, _, s, _ in c.frames), "the call with the long value was not answered")


def stop_with_a_stalled_reader(tools, member):
    for i in range(4):
        tools.etcdctl(member, "put", f"long/{i}", stdin="v" * 900_000)
    c = Connection(member, receive_buffer=4096, window=1 << 24)
    c.send(WINDOW_UPDATE, 0, 0, struct.pack(">I", 1 << 24))
    c.request(1, block("/etcdserverpb.KV/Range"), message(field(1, b"long/") + field(2, b"long0")), end=True)
    time.sleep(0.5)
    for _ in range(8):
        c.send(PING, 0, 0, b"12345678")
    time.sleep(0.5)
    begin = time.monotonic()
    member.process.send_signal(signal.SIGTERM)
    try:
        member.process.wait(STOP_SECONDS_MAX)
    except subprocess.TimeoutExpired:
        raise Failure(f"{STOP_SECONDS_MAX} s after SIGTERM the member still runs") from None
    print(f"  stopped in {time.monotonic() - begin:.1f} s")
    c.socket.close()


def main(tools, args, folder):
    for name, program in (("ours", tools.ours), ("real", tools.real)):
        print(name, flush=True)
        limited = Member(folder / f"{name}-limited", flags=["--max-concurrent-streams=3"]).start(program)
        streams_over_the_limit(limited)
        limited.stop()
        member = Member(folder / name).start(program)
        many_resets(member)
        metadata(member, name == "ours")
        stop_with_a_stalled_reader(tools, member)


drive(main, __doc__, needs=("oracle-3.6",))
