#!/usr/bin/env python3
"""Hostile clients of TLS ports, beside a stock client over mutual TLS that must not notice them.

    answers    21 wrong beginnings of a connection, 6 of TLS on a port of plain HTTP, a second handshake, changes of keys, records of
               1 byte: what the server under test and a real etcd 3.6 answer, on the clients' port and on the peers'
    holding    1,500 connections (--long: 10,000 of each kind) that never finish their handshake: silent, after their hello, in the
               middle of it, a byte a second. All are closed after the 10 s that a handshake may take
    active     as many as come: cut off, plain text, garbage records of maximal length, a hello without an end, empty records,
               warnings, whole handshakes, tiny records, answers that nobody reads, second handshakes, changes of keys

For each flood: the p50 of the stock client with and without it (the limit is --ratio-max times its own, above --floor-us), a
newcomer who makes a whole handshake, at the clients' port and at one that is not flooded, where he must be served in half the time
that a handshake may take; the member's memory and descriptors before, at its peak and afterwards, and what it counts. --real shows a real etcd's, which is not judged. Floods go to the clients' port and to the peers'."""

import json
import os
import pathlib
import re
import signal
import ssl
import socket
import subprocess
import sys
import threading
import time

sys.path.insert(0, str(pathlib.Path(__file__).resolve().parent.parent / "lib"))
import tls_attacker as attacker  # noqa: E402
from authority import Authority  # noqa: E402
from members import Conversation, Failure, Member, die_with_parent, drive, expect, free_port  # noqa: E402

HOST = "127.0.0.1"
BASE_MB = 48
# Kilobytes that a connection may hold in its handshake, and in whatever it does afterwards.
HANDSHAKE_KB = 48
HANDSHAKE_SECONDS = 10
# Kind, connections at a time, megabytes they may hold, ports.
ACTIVE = [("cut", 8, BASE_MB, "client"), ("plain", 4, BASE_MB, "client"), ("garbage", 4, BASE_MB, "client"),
          ("endless hello", 4, BASE_MB, "client"), ("empty records", 2, BASE_MB, "client"), ("warnings", 2, BASE_MB, "client"),
          ("change cipher spec", 2, BASE_MB, "client"), ("whole", 4, BASE_MB, "client"), ("tiny", 2, BASE_MB, "client"),
          ("unread", 20, 2 * BASE_MB, "client"), ("renegotiate", 2, BASE_MB, "client"), ("key updates", 2, BASE_MB, "client"),
          ("hello", 4, BASE_MB, "metrics"), ("cut", 8, BASE_MB, "peer"), ("garbage", 4, BASE_MB, "peer")]
SHORT_ACTIVE = {("garbage", "client"), ("whole", "client"), ("tiny", "client"), ("unread", "client"), ("key updates", "client"),
                ("hello", "metrics"), ("cut", "peer")}


class Server:
    """A member with TLS on both sides and one port of plain HTTP."""

    def __init__(self, program, folder, authority, pair):
        folder.mkdir(parents=True)
        self.ports = {name: free_port() for name in ("client", "peer", "metrics")}
        self.log, self.pid = folder / "log", None
        cert, key = pair
        ca = authority.path("ca.pem")
        url, peer = f"https://{HOST}:{self.ports['client']}", f"https://{HOST}:{self.ports['peer']}"
        command = [*map(str, program), "--name", "m", "--data-dir", str(folder / "data"), "--listen-client-urls", url,
                   "--advertise-client-urls", url, "--listen-peer-urls", peer, "--initial-advertise-peer-urls", peer,
                   "--initial-cluster", f"m={peer}", "--listen-metrics-urls", f"http://{HOST}:{self.ports['metrics']}",
                   "--cert-file", cert, "--key-file", key, "--trusted-ca-file", ca, "--client-cert-auth", "--peer-cert-file", cert,
                   "--peer-key-file", key, "--peer-trusted-ca-file", ca, "--peer-client-cert-auth"]
        with open(self.log, "ab") as log:
            self.process = subprocess.Popen(command, stdout=log, stderr=log, stdin=subprocess.DEVNULL, preexec_fn=die_with_parent)
        self.pid = self.process.pid
        Member.members.append(self)
        deadline = time.monotonic() + 40
        while self.newcomer() is None:
            expect(self.process.poll() is None and time.monotonic() < deadline, f"the member does not answer\n{self.log_tail()}")
            time.sleep(0.1)

    def address(self, port):
        return HOST, self.ports[port]

    def newcomer(self, port="client", seconds=30):
        """The seconds that a handshake and one request take; None if they fail."""
        began = time.monotonic()
        try:
            with socket.create_connection(self.address(port), seconds) as raw, attacker.client_context().wrap_socket(raw) as s:
                s.sendall(b"GET /version HTTP/1.1\r\nHost: x\r\n\r\n")
                return time.monotonic() - began if s.recv(4096).startswith(b"HTTP/1.1 200") else None
        except OSError:
            return None

    def metrics(self):
        with socket.create_connection(self.address("metrics"), 10) as s:
            s.sendall(b"GET /metrics HTTP/1.0\r\nHost: x\r\n\r\n")
            text = b"".join(iter(lambda: s.recv(65536), b"")).decode()
        return {m[1]: float(m[2]) for m in re.finditer(r"^([a-z]\S*(?:\{.*\})?) (\S+)$", text, re.MULTILINE)}

    def memory_mb(self, field):
        text = pathlib.Path(f"/proc/{self.pid}/status").read_text()
        return int(next(line.split()[1] for line in text.splitlines() if line.startswith(field))) / 1024

    def descriptors(self):
        return len(os.listdir(f"/proc/{self.pid}/fd"))

    def end(self, how=signal.SIGKILL):
        if self.process.poll() is None:
            self.process.send_signal(how)
            self.process.wait(40)

    def log_tail(self):
        return "\n".join(line[:300] for line in self.log.read_text(errors="replace").splitlines()[-12:])


class Flood:
    """The program of tls_attacker.py."""

    def __init__(self):
        self.talk = Conversation([sys.executable, attacker.__file__])

    def on(self, kind, address, count):
        self.talk.ask("\t".join(["on", kind, *map(str, address), str(count)]))

    def off(self):
        return json.loads(self.talk.ask("off")[0])

    def close(self):
        self.talk.close()


def answers(tools, folder, authority, pair):
    sides = {}
    for name, program in (("ours", tools.ours), ("real", tools.real)):
        server = Server(program, folder / name, authority, pair)
        said = {}

        def ask(what, question):
            try:
                said[what] = question()
            except OSError as e:
                said[what] = str(e).split("] ")[-1]  # pylint: disable=cell-var-from-loop

        def exchange(what, port, data, half_close=False):
            def question():
                got, end = attacker.exchange(server.address(port), data, 1, half_close)  # pylint: disable=cell-var-from-loop
                # A server that ends a connection with bytes unread resets it, if they are there already.
                return f"{attacker.told(got)}, {'closed' if end == 'ConnectionResetError' or end == 'BrokenPipeError' else end}"
            ask(what, question)

        for port in ("client", "peer"):
            for what, data in attacker.bad_inputs().items():
                exchange(f"{port}: {what}", port, data, half_close=what == "nothing")
            ask(f"{port}: a hello cut into records of 1 byte", lambda: attacker.tiny(server.address(port), None))  # pylint: disable=cell-var-from-loop
            ask(f"{port}: a second handshake", lambda: attacker.renegotiate(server.address(port), None))  # pylint: disable=cell-var-from-loop
            ask(f"{port}: changes of keys", lambda: attacker.key_updates(server.address(port), None))  # pylint: disable=cell-var-from-loop
        for what in ("nothing", "noise as a handshake", "a hello and noise", "a hello twice", "SSL 2", "zeros"):
            exchange(f"metrics: {what}", "metrics", attacker.bad_inputs()[what], half_close=what == "nothing")
        exchange("metrics: a hello", "metrics", attacker.hello())
        expect(server.newcomer() is not None, f"{name} does not answer afterwards")
        time.sleep(0.3)
        server.end(signal.SIGTERM)
        sides[name] = said
    bad = [what for what in sides["ours"] if sides["ours"][what] != sides["real"][what]]
    for what in bad:
        print(f"DIFFERENCE tls/{what}: ours {sides['ours'][what]}; real {sides['real'][what]}")
    known = set(re.findall(r"^- `tls/([^`]*)`", (pathlib.Path(__file__).parent / "differences.md").read_text(), re.MULTILINE))
    expect(not set(bad) - known, f"answers that are not known to differ: {sorted(set(bad) - known)}")
    print(f"answers: {len(sides['ours'])} compared, {len(bad)} known differences", flush=True)


class Newcomers(threading.Thread):
    """Whole handshakes at a port, one after the other."""

    def __init__(self, server, port):
        super().__init__(daemon=True)
        self.server, self.port, self.over, self.times, self.failed = server, port, threading.Event(), [], 0
        self.start()

    def run(self):
        while not self.over.is_set():
            took = self.server.newcomer(self.port)
            if took is None:
                self.failed += 1
            else:
                self.times.append(took)
            self.over.wait(0.1)

    def end(self):
        self.over.set()
        self.join(60)
        return self.failed, max(self.times, default=0)


class Watch:
    """What a server holds while something goes on."""

    def __init__(self, args, tools, server, judged):
        self.args, self.server, self.judged, self.wrong = args, server, judged, []
        self.bystander = Conversation([tools.interop, "bystander", "--endpoint", f"{HOST}:{server.ports['client']}"])
        self.bystander.ask("300")

    def window(self, seconds):
        failed, late, *figures = map(int, self.bystander.ask(str(int(seconds * 1000)), timeout=int(seconds) + 90))
        return failed, late, figures[1::3]

    def measure(self, label, spared, bound_mb, seconds, begin, end):
        """Runs a flood between begin() and end(), which returns what the attackers tell. `spared`: the port that it is not at."""
        server = self.server
        _, _, quiet = self.window(self.args.seconds)
        before, descriptors = server.memory_mb("VmRSS"), server.descriptors()
        pathlib.Path(f"/proc/{server.pid}/clear_refs").write_text("5")
        newcomers = Newcomers(server, "client")
        beside = Newcomers(server, spared) if spared != "client" else newcomers
        begin()
        failed, late, loud = self.window(seconds)
        told = end()
        refused, slowest = newcomers.end()
        refused_beside, slowest_beside = beside.end()
        if server.process.poll() is not None:
            raise Failure(f"{label} ended the member\n{server.log_tail()}")
        peak = server.memory_mb("VmHWM") - before
        deadline = time.monotonic() + 20
        while server.descriptors() > descriptors + 4 and time.monotonic() < deadline:
            time.sleep(0.1)
        kept, after = server.memory_mb("VmRSS") - before, server.descriptors()
        ratio = max(b / max(a, 1) for a, b in zip(quiet, loud))
        print(f"{label:<34}{ratio:>7.1f}{max(quiet) / 1e3:>8.1f}{max(loud) / 1e3:>8.1f}{slowest:>9.2f}{slowest_beside:>8.2f}{peak:>8.1f}"
              f"{kept:>8.1f}{bound_mb:>7.0f}{descriptors:>7}{after:>6}  {told}", flush=True)
        for bad, what in ((refused_beside, f"{refused_beside} newcomers at the {spared} port were refused"),
                          (slowest_beside > HANDSHAKE_SECONDS / 2, f"a newcomer at the {spared} port, which nobody floods, waited "
                           f"{slowest_beside:.1f} s"),
                          (failed, f"{failed} calls of the stock client failed"), (refused, f"{refused} newcomers were refused"),
                          (ratio > self.args.ratio_max and max(loud) > self.args.floor_us,
                           f"the stock client's calls took {ratio:.1f} times as long"),
                          (peak > bound_mb, f"{peak:.0f} MB more at its peak, the bound is {bound_mb:.0f}"),
                          (after > descriptors + 4, f"{after} descriptors afterwards, {descriptors} before")):
            if bad:
                self.wrong.append(f"{label}: {what}")


HEAD = (f"{'flood':<34}{'ratio':>7}{'ms':>8}{'>ms':>8}{'new s':>9}{'beside':>8}{'peak':>8}{'kept':>8}{'bound':>7}{'fds':>7}{'after':>6}"
        "  connections")


def holding(watch, groups):
    """Each of the groups [(kind, port, count), ...] at the same time."""
    server = watch.server
    floods = [Flood() for _ in groups]
    count = sum(n for *_, n in groups)
    label = f"{groups[0][0]}, {groups[0][1]}" if len(groups) == 1 else f"holding, {len(groups)} kinds"
    told = []

    def begin():
        for flood, (kind, port, n) in zip(floods, groups):
            flood.on(kind, server.address(port), n)
        if watch.judged:
            deadline = time.monotonic() + HANDSHAKE_SECONDS
            most = 0
            while time.monotonic() < deadline and most < 0.9 * count:
                m = server.metrics()
                most = max(most, sum(v for k, v in m.items() if k.startswith("quoin_tls_handshakes{")))
                time.sleep(0.05)
            if most < 0.9 * count:
                watch.wrong.append(f"{label}: {count} handshakes under way, quoin_tls_handshakes tells of {most:.0f}")

    def end():
        # All are closed when their time is over.
        deadline = time.monotonic() + 3 * HANDSHAKE_SECONDS
        while server.descriptors() > 200 and time.monotonic() < deadline:
            time.sleep(0.2)
        time.sleep(0.5)
        told.extend(flood.off() for flood in floods)
        return "; ".join(f"{k}: {t['opened']} {t['ended']} {t['first']:.1f}-{t['last']:.1f} s" for (k, *_), t in zip(groups, told))

    spared = "peer" if all(port == "client" for _, port, _ in groups) else "client"
    watch.measure(label, spared, BASE_MB + count * HANDSHAKE_KB / 1024, watch.args.seconds if watch.args.long else 1, begin, end)
    for (kind, _, n), t in zip(groups, told):
        # The first bytes of a hello may be refused sooner, by what they say.
        if t["ended"].get("open") or t["opened"] != n or t["first"] < HANDSHAKE_SECONDS - 1.5 or t["last"] > 2.5 * HANDSHAKE_SECONDS:
            watch.wrong.append(f"{label}: {kind}: {t}")
    left = sum(v for k, v in server.metrics().items() if k.startswith("quoin_tls_handshakes{"))
    if left > 4:
        watch.wrong.append(f"{label}: {left:.0f} handshakes are counted as under way afterwards")
    for flood in floods:
        flood.close()


def active(watch, kind, count, bound, port):
    flood = Flood()
    told = []

    def end():
        told.append(flood.off())
        return f"{told[0]['opened']}: {told[0]['ended']}"
    watch.measure(f"{kind}, {port}", "client" if port == "peer" else "peer", bound, watch.args.seconds,
                  lambda: flood.on(kind, watch.server.address(port), count), end)
    flood.close()


def floods(args, tools, name, program, folder, authority, pair):
    server = Server(program, folder / name, authority, pair)
    watch = Watch(args, tools, server, name == "quoin")
    print(f"--- {name}\n{HEAD}", flush=True)
    if not args.only or "holding" in args.only:
        if args.long:
            for kind in attacker.HOLDING:
                holding(watch, [(kind, "client", 10_000)])
            holding(watch, [("half-open", "peer", 5_000), ("silent", "peer", 5_000)])
        else:
            holding(watch, [("silent", "client", 400), ("half-open", "client", 400), ("half a hello", "client", 200),
                            ("a byte a second", "client", 200), ("half-open", "peer", 300)])
    for kind, count, bound, port in ACTIVE:
        if (args.only and kind not in args.only) or not (args.long or args.only or (kind, port) in SHORT_ACTIVE):
            continue
        active(watch, kind, count, bound, port)
    expect(server.newcomer("peer") is not None, "the peers' port does not answer afterwards")
    watch.bystander.close()
    server.end(signal.SIGTERM)
    return watch.wrong


def main(tools, args, folder):
    args.seconds = args.seconds or (3 if args.long else 0.7)
    authority = Authority(folder / "pki")
    pair = authority.pair("server", "server", "IP:127.0.0.1,DNS:localhost")
    client = authority.pair("client", "client", "IP:127.0.0.1")
    os.environ.update(QUOIN_TEST_CA=authority.path("ca.pem"), QUOIN_TEST_CERT=client[0], QUOIN_TEST_KEY=client[1])
    if args.part != "floods":
        answers(tools, folder / "answers", authority, pair)
    if args.part == "answers":
        return
    if args.real:
        floods(args, tools, "etcd", tools.real, folder, authority, pair)
    wrong = floods(args, tools, "quoin", tools.ours, folder, authority, pair)
    expect(not wrong, "\n".join(wrong))


def arguments(parser):
    parser.add_argument("--part", choices=["answers", "floods"], help="holding and active are the floods")
    parser.add_argument("--only", action="append", choices=["holding", *attacker.KINDS], help="some of the floods")
    parser.add_argument("--real", action="store_true", help="the same floods at a real etcd 3.6 first")
    parser.add_argument("--seconds", type=float, help="how long the stock client is measured each time")
    parser.add_argument("--ratio-max", type=float, default=25)
    parser.add_argument("--floor-us", type=int, default=50_000)


if __name__ == "__main__":
    drive(main, __doc__, arguments, needs=("oracle-3.6", "interop"))
