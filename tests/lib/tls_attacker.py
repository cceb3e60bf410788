"""What a hostile client of a TLS port sends: the bytes, and a program that sends many of them (for interop/tls_floods.py).

As a program it is told on standard input, one line at a time, and answers `ok ...`:

    on KIND ADDRESS PORT COUNT   begins: COUNT connections at a time, made anew when the server ends them, but for those of
                                 HOLDING, which are opened once
    off                          ends; answers `ok JSON`: opened, how they ended (by outcome), and for HOLDING the seconds after
                                 which the server closed the first and the last

QUOIN_TEST_CA, _CERT and _KEY name the files of a client that is let in."""

import ctypes
import json
import os
import random
import selectors
import socket
import ssl
import struct
import sys
import threading
import time

HANDSHAKE, ALERT, CHANGE, DATA = 22, 21, 20, 23
RECORD_MAX = 16384


def record(kind, payload, version=0x0301):
    return struct.pack(">BHH", kind, version, len(payload)) + payload


def hello():
    """A ClientHello as Python sends it, one record."""
    out = ssl.MemoryBIO()
    client = client_context(False).wrap_bio(ssl.MemoryBIO(), out, server_hostname="localhost")
    try:
        client.do_handshake()
    except ssl.SSLWantReadError:
        pass
    return out.read()


def recut(data, size):
    """The same content in records of `size` bytes."""
    out = b""
    while data:
        kind, version, n = struct.unpack(">BHH", data[:5])
        body, data = data[5:5 + n], data[5 + n:]
        out += b"".join(record(kind, body[i:i + size], version) for i in range(0, n, size))
    return out


def message(kind, payload, claimed=None):
    return bytes([kind]) + struct.pack(">I", len(payload) if claimed is None else claimed)[1:] + payload


def noise(n, seed=1):
    return random.Random(seed).randbytes(n)


def bad_inputs():
    """By name: what goes wrong in the first bytes of a connection to a TLS port."""
    h = hello()
    get = b"GET /health HTTP/1.1\r\nHost: x\r\n\r\n"
    return {
        "nothing": b"",
        "plain HTTP/1.1": get,
        "plain HTTP/2": b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n" + bytes.fromhex("000000040000000000"),
        "zeros": bytes(100),
        "an unknown kind of record": record(0xff, noise(100)),
        "noise as a handshake": record(HANDSHAKE, noise(200)),
        "noise as a handshake, maximal": record(HANDSHAKE, noise(RECORD_MAX)),
        "a record over the limit": record(HANDSHAKE, noise(RECORD_MAX + 2049)),
        "a record of 65535 bytes": record(HANDSHAKE, noise(65535)),
        "data before the handshake": record(DATA, noise(RECORD_MAX), 0x0303),
        "an alert first": record(ALERT, b"\x02\x28"),
        "SSL 2": b"\x80\x2e\x01\x03\x01" + noise(43),
        "a hello of SSL 3": h[:1] + b"\x03\x00" + h[3:],
        "a record of version 9.9": h[:1] + b"\x09\x09" + h[3:],
        "a hello that claims 16 MB": record(HANDSHAKE, message(1, noise(1000), 0xffffff)),
        "an empty hello": record(HANDSHAKE, message(1, b"")),
        "another message than a hello": record(HANDSHAKE, message(11, noise(100))),
        "a hello and noise": h + record(HANDSHAKE, noise(RECORD_MAX)),
        "a hello and data": h + record(DATA, noise(1000), 0x0303),
        "a hello twice": h + h,
        "a hello cut into records of 1 byte, then noise": recut(h, 1) + record(HANDSHAKE, noise(100)),
    }


def client_context(present=True, version=None):
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    context.check_hostname = False
    context.verify_mode = ssl.CERT_NONE
    if present:
        context.load_cert_chain(os.environ["QUOIN_TEST_CERT"], os.environ["QUOIN_TEST_KEY"])
    if version:
        context.minimum_version = context.maximum_version = version
    return context


def exchange(address, data, seconds=3, half_close=False):
    """Sends bytes and returns what comes back until the server ends the connection, and how it did."""
    got = b""
    with socket.create_connection(address, 5) as s:
        s.settimeout(seconds)
        try:
            s.sendall(data)
            if half_close:
                s.shutdown(socket.SHUT_WR)
            while True:
                part = s.recv(65536)
                if not part:
                    return got, "closed"
                got += part
        except TimeoutError:
            return got, "open"
        except OSError as e:
            return got, type(e).__name__


def told(got):
    """An answer in words: alerts by number, other records by kind."""
    if not got:
        return "-"
    if got[:1] not in (b"\x14", b"\x15", b"\x16", b"\x17"):
        return repr(got[:60])
    out = []
    while len(got) >= 5:
        kind, _, n = struct.unpack(">BHH", got[:5])
        body, got = got[5:5 + n], got[5 + n:]
        out.append(f"alert {body[0]}/{body[1]}" if kind == ALERT and n == 2 else f"record {kind}")
    return ", ".join(dict.fromkeys(out))


# ---- OpenSSL itself, for what Python's ssl does not offer ----

class Raw:
    """A connection whose TLS is asked for more: to negotiate again, or to change its keys."""

    TLS12, TLS13 = 0x0303, 0x0304
    lib = crypto = None

    def __init__(self, address, version):
        if Raw.lib is None:
            lib, crypto = ctypes.CDLL("libssl.so.3"), ctypes.CDLL("libcrypto.so.3")
            for name in ("TLS_client_method", "SSL_CTX_new", "SSL_new"):
                getattr(lib, name).restype = ctypes.c_void_p
            crypto.ERR_reason_error_string.restype = ctypes.c_char_p
            crypto.ERR_get_error.restype = ctypes.c_ulong
            crypto.ERR_reason_error_string.argtypes = [ctypes.c_ulong]
            lib.SSL_CTX_ctrl.argtypes = [ctypes.c_void_p, ctypes.c_int, ctypes.c_long, ctypes.c_void_p]
            Raw.crypto, Raw.lib = crypto, lib
        pointer = ctypes.c_void_p
        self.ctx = pointer(self.lib.SSL_CTX_new(pointer(self.lib.TLS_client_method())))
        for limit in (123, 124):  # least and newest version
            self.lib.SSL_CTX_ctrl(self.ctx, limit, version, None)
        self.lib.SSL_CTX_use_certificate_file(self.ctx, os.environ["QUOIN_TEST_CERT"].encode(), 1)
        self.lib.SSL_CTX_use_PrivateKey_file(self.ctx, os.environ["QUOIN_TEST_KEY"].encode(), 1)
        self.socket = socket.create_connection(address, 5)
        self.socket.setblocking(True)
        for option in (socket.SO_RCVTIMEO, socket.SO_SNDTIMEO):
            self.socket.setsockopt(socket.SOL_SOCKET, option, struct.pack("ll", 5, 0))
        self.ssl = pointer(self.lib.SSL_new(self.ctx))
        self.lib.SSL_set_fd(self.ssl, self.socket.fileno())
        if self.lib.SSL_connect(self.ssl) != 1:
            why = self.why()
            self.close()
            raise OSError(why)

    def why(self):
        reason = self.crypto.ERR_reason_error_string(self.crypto.ERR_get_error())
        return reason.decode() if reason else "closed"

    def renegotiate(self):
        """Asks for a second handshake; how that ends."""
        self.lib.SSL_renegotiate(self.ssl)
        return "done" if self.lib.SSL_do_handshake(self.ssl) == 1 and not self.lib.SSL_renegotiate_pending(self.ssl) and \
            self.get() == "200" else self.why()

    def update_keys(self, times):
        """Changes keys again and again and asks the server to do so, too; how that ends."""
        for _ in range(times):
            self.lib.SSL_key_update(self.ssl, 1)
            if self.lib.SSL_do_handshake(self.ssl) != 1:
                return "ended"
        answer = self.get()
        return answer if answer.isdigit() else "ended"

    def get(self):
        request = b"GET /health HTTP/1.1\r\nHost: x\r\n\r\n"
        if self.lib.SSL_write(self.ssl, request, len(request)) <= 0:
            return self.why()
        buffer = ctypes.create_string_buffer(4096)
        if self.lib.SSL_read(self.ssl, buffer, 4096) <= 0:
            return self.why()
        return buffer.raw[9:12].decode(errors="replace")

    def close(self):
        if hasattr(self, "ssl"):
            self.lib.SSL_free(self.ssl)
        self.lib.SSL_CTX_free(self.ctx)
        self.socket.close()


# ---- one connection of each kind, which returns how it ended ----

def abort(s):
    s.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
    s.close()


def sends(*inputs):
    def one(address, over):
        got, end = exchange(address, inputs[random.randrange(len(inputs))], 2)
        return f"{told(got)}, {end}"
    return one


def endless(piece, begin=b""):
    """Sends without an end until the server has enough."""
    def one(address, over):
        with socket.create_connection(address, 5) as s:
            s.settimeout(2)
            try:
                s.sendall(begin)
                while not over.is_set():
                    s.sendall(piece)
            except TimeoutError:
                return "not taken"
            except OSError:
                return "closed"
        return "taken"
    return one


def cut(address, over):
    h = hello()
    s = socket.create_connection(address, 5)
    s.sendall(h[:random.randrange(len(h) + 1)])
    abort(s)
    return "cut"


def whole(address, over):
    """A handshake, and nothing afterwards."""
    with socket.create_connection(address, 5) as raw:
        with client_context().wrap_socket(raw) as s:
            return s.version()


def tiny(address, over):
    """Everything in records of 1 byte; answered in the end."""
    incoming, outgoing = ssl.MemoryBIO(), ssl.MemoryBIO()
    client = client_context().wrap_bio(incoming, outgoing)
    with socket.create_connection(address, 5) as raw:
        raw.settimeout(5)
        first = True
        while True:
            try:
                client.do_handshake()
                break
            except ssl.SSLWantReadError:
                data = outgoing.read()
                raw.sendall(recut(data, 1) if first else data)
                first = False
                part = raw.recv(65536)
                if not part:
                    return "closed in the handshake"
                incoming.write(part)
        raw.sendall(outgoing.read())
        for byte in b"GET /health HTTP/1.1\r\nHost: x\r\nX: " + b"x" * 3000 + b"\r\n\r\n":
            client.write(bytes([byte]))
        raw.sendall(outgoing.read())
        while True:
            try:
                return client.read(4096)[9:12].decode()
            except ssl.SSLWantReadError:
                part = raw.recv(65536)
                if not part:
                    return "closed"
                incoming.write(part)


def unread(address, over):
    """Asks and asks, and reads nothing."""
    with socket.create_connection(address, 5) as raw:
        raw.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4096)
        with client_context().wrap_socket(raw) as s:
            s.settimeout(1)
            try:
                while not over.is_set():
                    s.sendall(b"GET /metrics HTTP/1.1\r\nHost: x\r\n\r\n" * 100)
            except TimeoutError:
                over.wait(60)
                return "not taken"
    return "taken"


def renegotiate(address, over):
    c = Raw(address, Raw.TLS12)
    try:
        return c.renegotiate()
    finally:
        c.close()


def key_updates(address, over):
    c = Raw(address, Raw.TLS13)
    try:
        return c.update_keys(1000)
    finally:
        c.close()


KINDS = {
    "cut": cut, "whole": whole, "tiny": tiny, "unread": unread, "renegotiate": renegotiate, "key updates": key_updates,
    "plain": sends(b"GET /health HTTP/1.1\r\nHost: x\r\n\r\n"),
    "hello": lambda address, over: sends(hello())(address, over),
    "garbage": sends(*(record(k, noise(n, s), v) for s, (k, n, v) in enumerate(
        [(HANDSHAKE, RECORD_MAX, 0x301), (HANDSHAKE, 65535, 0x301), (DATA, RECORD_MAX, 0x303), (255, RECORD_MAX, 0x301)]))),
    "endless hello": endless(record(HANDSHAKE, noise(RECORD_MAX)), record(HANDSHAKE, message(1, noise(100), 0xffff))),
    "empty records": endless(record(HANDSHAKE, b"") * 1000),
    "warnings": endless(record(ALERT, b"\x01\x5a") * 1000, hello()),
    "change cipher spec": endless(record(CHANGE, b"\x01", 0x303) * 1000, hello()),
}
# Opened once: what each sends at first, and then once a second.
HOLDING = {
    "silent": lambda h: (b"", b""),
    "half-open": lambda h: (h, b""),
    "half a hello": lambda h: (h[:len(h) // 2], b""),
    "a byte a second": lambda h: (h[:1], h[1:]),
}


class Holding(threading.Thread):
    """All connections of one kind of HOLDING, in one loop."""

    def __init__(self, kind, address, count):
        super().__init__(daemon=True)
        self.first, self.later = HOLDING[kind](hello())
        self.address, self.count, self.over = address, count, threading.Event()
        self.opened, self.ended, self.closed = 0, {}, []
        self.start()

    def run(self):
        waiting = selectors.DefaultSelector()
        for _ in range(self.count):
            s = socket.create_connection(self.address, 10)
            s.setblocking(False)
            s.sendall(self.first)
            waiting.register(s, selectors.EVENT_READ, time.monotonic())
            self.opened += 1
        sent, due = 0, time.monotonic() + 1
        while not self.over.is_set() and waiting.get_map():
            for key, _ in waiting.select(0.1):
                try:
                    got = key.fileobj.recv(65536)
                except OSError:
                    got = b""
                if not got:
                    self.closed.append(time.monotonic() - key.data)
                    waiting.unregister(key.fileobj)
                    key.fileobj.close()
            if self.later and time.monotonic() > due:
                for key in list(waiting.get_map().values()):
                    try:
                        key.fileobj.send(self.later[sent:sent + 1])
                    except OSError:
                        pass
                sent, due = sent + 1, time.monotonic() + 1
        self.ended = {"closed by the server": len(self.closed), "open": len(waiting.get_map())}
        for key in list(waiting.get_map().values()):
            abort(key.fileobj)

    def off(self):
        self.over.set()
        self.join(30)
        return {"opened": self.opened, "ended": self.ended, "first": min(self.closed, default=0), "last": max(self.closed, default=0)}


class Active:
    """Threads that make one connection of a kind after the other."""

    def __init__(self, kind, address, count):
        self.one, self.address, self.over = KINDS[kind], address, threading.Event()
        self.lock, self.opened, self.ended = threading.Lock(), 0, {}
        self.threads = [threading.Thread(target=self.run, daemon=True) for _ in range(count)]
        for t in self.threads:
            t.start()

    def run(self):
        while not self.over.is_set():
            try:
                end = self.one(self.address, self.over)
            except OSError as e:
                end = getattr(e, "reason", None) or str(e).split("] ")[-1] or type(e).__name__
            with self.lock:
                self.opened += 1
                self.ended[end] = self.ended.get(end, 0) + 1

    def off(self):
        self.over.set()
        for t in self.threads:
            t.join(10)
        return {"opened": self.opened, "ended": self.ended, "first": 0, "last": 0}


def main():
    under_way = []
    for line in sys.stdin:
        word, *rest = line.rstrip("\n").split("\t")
        if word == "on":
            kind, host, port, count = rest
            under_way.append((Holding if kind in HOLDING else Active)(kind, (host, int(port)), int(count)))
            print("ok", flush=True)
        else:
            print("ok " + json.dumps(under_way.pop().off(), separators=(",", ":")).replace(" ", "_"), flush=True)


if __name__ == "__main__":
    main()
