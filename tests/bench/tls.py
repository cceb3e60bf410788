#!/usr/bin/env python3
"""Server CPU per request over TLS, and of logins, beside a real etcd 3.6 in the same run; then what an idle connection
holds in memory. Measured as compare.py does; the certificate is of P-256.

A full handshake is a connection with one call on it; a resumed one the same, with the session of the connection before.
A repeated login is the same user again and again; a first one is another user each time. Figures are ratios; the bare ones
beside them are this machine's and this load's. With --judge, a ratio beyond its bound fails the run."""

import pathlib
import subprocess
import sys
import time

sys.path.insert(0, str(pathlib.Path(__file__).resolve().parent.parent / "lib"))
from authority import Authority  # noqa: E402
from compare import cpu_seconds, resident_mb  # noqa: E402
from members import Failure, Member, die_with_parent, drive, expect, free_port, run  # noqa: E402

# (name, kind, over TLS, as a user, connections, in flight; 0: as told), and what ours may cost at most of the real one's.
OPERATIONS = [("put", "put", True, False, 0, 0, 1 / 12), ("range", "range", True, False, 0, 0, 1 / 16),
              ("linearizable", "linearizable", True, False, 0, 0, 1 / 16),
              ("handshake", "handshake", True, False, 8, 1, 1 / 2), ("resumed", "resumed", True, False, 8, 1, 1 / 4),
              ("put as a user", "put", False, True, 0, 0, None), ("range as a user", "range", False, True, 0, 0, None),
              ("repeated login", "login", False, True, 4, 1, 1 / 100)]
USER = "alice:secret"


class Secured:
    """A member that speaks plain TCP on one port and TLS on another."""

    def __init__(self, folder, authority, pair):
        self.tls_endpoint = f"127.0.0.1:{free_port()}"
        self.ca = authority.path("ca.pem")
        self.member = Member(folder, ["--quota-backend-bytes", str(8 << 30), "--cert-file", pair[0], "--key-file", pair[1]])
        self.member.flags += ["--listen-client-urls", f"{self.member.url},https://{self.tls_endpoint}"]

    def command(self, interop, kind, args, tls, user, connections, inflight, seconds):
        return [interop, "load", "--endpoint", self.tls_endpoint if tls else self.member.endpoint, "--kind", kind,
                *(["--ca", self.ca] if tls else []), *(["--user", USER] if user else []), "--keys", args.keys, "--value", args.value,
                "--connections", connections, "--inflight", inflight, "--duration", f"{seconds}s"]

    def cost(self, interop, operation, args):
        _, kind, tls, user, connections, inflight, _ = operation
        before = cpu_seconds(self.member.pid)
        done = run(self.command(interop, kind, args, tls, user, connections or args.connections, inflight or args.inflight,
                                args.seconds), timeout=300)
        calls, seconds, errors, p50, p99 = done.stdout.split()
        expect(not int(errors), f"{operation[0]}: {errors} of {calls} calls failed")
        return (cpu_seconds(self.member.pid) - before) / int(calls) * 1e6, int(calls) / float(seconds), int(p50), int(p99)

    def ctl(self, tools, *command):
        return run([*tools.oracle_ctl, "--endpoints", self.member.endpoint, *command], timeout=60)

    def idle_kilobytes(self, interop, args):
        """Of anonymous memory, for each connection."""
        before = resident_kilobytes(self.member.pid)
        seconds = 30 + args.idle / 200
        child = subprocess.Popen([str(a) for a in self.command(interop, "idle", args, True, False, args.idle, 1, seconds)],
                                 stdout=subprocess.PIPE, text=True, preexec_fn=die_with_parent)
        try:
            expect(child.stdout.readline() == "ready\n", "the connections were not made in time")
            time.sleep(15)  # for both to give back what they no longer need
            return (resident_kilobytes(self.member.pid) - before) / args.idle
        finally:
            child.kill()
            child.wait()


def resident_kilobytes(pid):
    with open(f"/proc/{pid}/status", encoding="ascii") as f:
        for line in f:
            if line.startswith("RssAnon:"):
                return int(line.split()[1])
    raise Failure("no RssAnon")


def first_logins(tools, secured, count):
    """CPU of a login that nobody remembers, in µs."""
    for i in range(count):
        secured.ctl(tools, "--user", "root:pw", "user", "add", f"u{i}:pw{i}")
    before = cpu_seconds(secured.member.pid)
    for i in range(count):
        run([tools.interop, "load", "--endpoint", secured.member.endpoint, "--kind", "login", "--user", f"u{i}:pw{i}", "--calls", "1",
             "--connections", "1", "--inflight", "1"])
    return (cpu_seconds(secured.member.pid) - before) / count * 1e6


def add_arguments(parser):
    parser.add_argument("--keys", type=int, default=100_000)
    parser.add_argument("--value", type=int, default=256)
    parser.add_argument("--connections", type=int, default=50)
    parser.add_argument("--inflight", type=int, default=10)
    parser.add_argument("--seconds", type=float, default=4)
    parser.add_argument("--rounds", type=int, default=2)
    parser.add_argument("--idle", type=int, default=6000, help="idle connections")
    parser.add_argument("--judge", action="store_true")


def main(tools, args, folder):
    tools.oracle_ctl = [tools.oracle, "etcdctl"]
    authority = Authority(folder / "pki")
    pair = authority.pair("server", "server", "IP:127.0.0.1,DNS:localhost")
    programs = {"quoin": tools.ours, "etcd": tools.real}
    members = {name: Secured(folder / name, authority, pair) for name in programs}
    bad = []
    for name, secured in members.items():
        secured.member.start(programs[name])
        run(secured.command(tools.interop, "fill", args, False, False, 4, 4, 0), timeout=300)
        for command in (["user", "add", "root:pw"], ["user", "add", USER], ["role", "add", "root"], ["role", "add", "all"],
                        ["role", "grant-permission", "--prefix", "all", "readwrite", ""],
                        ["user", "grant-role", "root", "root"], ["user", "grant-role", "alice", "all"]):
            secured.ctl(tools, *command)
    print(f"{args.connections} connections x {args.inflight} in flight, {args.seconds:g} s a round, best of {args.rounds}\n")
    print(f"{'operation':<18}{'quoin µs CPU':>14}{'etcd µs CPU':>14}{'ratio':>8}{'asked':>8}{'quoin p50/p99 ms':>20}"
          f"{'etcd p50/p99 ms':>20}", flush=True)

    def judge(what, ours, theirs, bound, rest=""):
        ratio = theirs / ours if ours else float("inf")
        print(f"{what:<18}{ours:>14.1f}{theirs:>14.1f}{ratio:>7.1f}x{f'{1 / bound:.0f}x' if bound else '-':>8}{rest}", flush=True)
        if bound and ratio < 1 / bound:
            bad.append(f"{what}: {ratio:.1f}x, asked {1 / bound:.0f}x")

    users = False
    for operation in OPERATIONS:
        if operation[3] and not users:
            users = True
            for secured in members.values():
                secured.ctl(tools, "auth", "enable")
        best = {}
        for _ in range(args.rounds):
            for name, secured in members.items():
                result = secured.cost(tools.interop, operation, args)
                if name not in best or result[0] < best[name][0]:
                    best[name] = result
        q, e = best["quoin"], best["etcd"]
        latency = [f"{r[2] / 1000:.1f}/{r[3] / 1000:.1f}" for r in (q, e)]
        judge(operation[0], q[0], e[0], operation[6], f"{latency[0]:>20}{latency[1]:>20}")
    logins = [first_logins(tools, members[name], 30) for name in ("quoin", "etcd")]
    judge("first login", *logins, None)
    for secured in members.values():
        secured.ctl(tools, "--user", "root:pw", "auth", "disable")
    idle = [members[name].idle_kilobytes(tools.interop, args) for name in ("quoin", "etcd")]
    judge("idle, KB each", *idle, 1 / 2)
    for name, secured in members.items():
        rss = resident_mb(secured.member.pid)
        print(f"{name}: {rss['RssAnon']} MB anonymous at the end")
        secured.member.stop()
    if args.judge:
        expect(not bad, "; ".join(bad))


if __name__ == "__main__":
    drive(main, __doc__, add_arguments)
