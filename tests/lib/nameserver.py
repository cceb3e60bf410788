"""Names for members under test: a name server on the loopback, and the resolv.conf that leads every program in this
driver's namespace to it, Quoin and real members alike.

prepare() starts the driver again in namespaces of its own (`unshare -rmn`): there its loopback is its own, so that port
53 is free, and /etc/resolv.conf can be covered without anybody else seeing it."""

import os
import pathlib
import socket
import struct
import subprocess
import sys
import threading

from members import Skip, run

_INSIDE = "QUOIN_TEST_USER"
ADDRESS = "127.0.0.1"
A, AAAA, SRV = 1, 28, 33


def prepare():
    """Called first by a driver that needs names."""
    if os.environ.get(_INSIDE):
        return
    try:
        works = subprocess.run(["unshare", "-rmn", "ip", "link", "set", "lo", "up"], capture_output=True, timeout=20,
                               check=False).returncode == 0
    except (OSError, subprocess.SubprocessError):
        works = False
    if works:
        os.environ[_INSIDE] = str(os.getuid())
        os.execvp("unshare", ["unshare", "-rmn", "--", sys.executable, *sys.argv])


def inside():
    """Whether prepare() could make the namespaces."""
    return bool(os.environ.get(_INSIDE))


class NameServer(threading.Thread):
    """Answers A and SRV questions from `records`: {name: ["127.0.0.1", ...]} and {name: [(port, target), ...]}; any
    other name does not exist."""

    def __init__(self, folder, records):
        super().__init__(daemon=True)
        if not inside():
            raise Skip("this user may not make mount and network namespaces here (unshare -rmn)")
        self.records = records
        self.asked = []
        run(["ip", "link", "set", "lo", "up"])
        conf = pathlib.Path(folder) / "resolv.conf"
        conf.write_text(f"nameserver {ADDRESS}\noptions timeout:1 attempts:1\n")
        run(["mount", "--bind", conf, "/etc/resolv.conf"])
        self.udp = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
        self.udp.bind((ADDRESS, 53))
        self.tcp = socket.socket()
        self.tcp.bind((ADDRESS, 53))
        self.tcp.listen(16)
        self.start()
        threading.Thread(target=self.serve_tcp, daemon=True).start()

    def run(self):
        while True:
            question, client = self.udp.recvfrom(4096)
            self.udp.sendto(self.answer(question), client)

    def serve_tcp(self):
        while True:
            connection, _ = self.tcp.accept()
            with connection:
                connection.settimeout(2)
                try:
                    size = struct.unpack(">H", connection.recv(2))[0]
                    said = self.answer(connection.recv(size))
                    connection.sendall(struct.pack(">H", len(said)) + said)
                except (OSError, struct.error):
                    continue

    @staticmethod
    def _wire_name(text):
        return b"".join(bytes([len(p)]) + p.encode() for p in text.rstrip(".").split(".")) + b"\0"

    def answer(self, question):
        at, parts = 12, []
        while question[at]:
            parts.append(question[at + 1:at + 1 + question[at]].decode())
            at += question[at] + 1
        kind = struct.unpack(">H", question[at + 1:at + 3])[0]
        name = ".".join(parts).lower()
        self.asked.append((name, kind))
        found = self.records.get(name)
        out = b""
        count = 0
        for record in found or []:
            if kind == A and isinstance(record, str):
                data = socket.inet_aton(record)
            elif kind == SRV and not isinstance(record, str):
                data = struct.pack(">HHH", 10, 10, record[0]) + self._wire_name(record[1])
            else:
                continue
            count += 1
            out += struct.pack(">HHHIH", 0xC00C, kind, 1, 60, len(data)) + data
        flags = 0x8180 if found is not None else 0x8183
        return question[:2] + struct.pack(">HHHHH", flags, 1, count, 0, 0) + question[12:at + 5] + out
