#!/usr/bin/env python3
"""What floods do to others: one attacker process sends one kind of flood as fast as one core can (tests/go/interop
/floods.go), beside a bystander, a stock client on a connection of its own that makes 200 calls a second. For each
flood it prints how much longer the bystander's calls took (p50 and p99; windows without and with the flood
alternate, medians of the windows), how far the member's memory grew, and what became of the attacker's connections.

The member has one processor, attacker and bystander share another, the attacker at nice 19: so the server is what is
measured, and a member with one processor has one loop, which attacker and bystander share. The row `control` is
what two processes that only burn processor time do, one beside the member and one in the attacker's place.

Fails if a flood takes more memory than its bound, if the member ends, if a call of the bystander fails, or if the
bystander's p50 is more than --ratio-max times its usual (times the control's, where that is more) and above
--floor-us. p99 is shown and not judged: on a machine that others use it says more about them."""

import os
import pathlib
import shutil
import statistics
import subprocess
import sys
import time

sys.path.insert(0, str(pathlib.Path(__file__).resolve().parent.parent / "lib"))
from members import Conversation, Failure, Member, die_with_parent, drive, run  # noqa: E402

# Name, connections, bound of the member's memory over its usual in MB, and which bound that is. Each connection may
# hold what ConnectionLimits says (src/grpc/server_connection.h): 16 MB of headers, 16 MB of requests (64 MB and a
# window where nobody can take windows back), 64 MB of answers; all together grpc::MemoryBudget. What libnghttp2 and
# the allocator hold comes on top.
BASE_MB = 48
FLOODS = [
    ("reset-headers", 1, BASE_MB, "work left behind"),
    ("reset-unary", 1, BASE_MB, "work left behind"),
    ("reset-unary", 8, BASE_MB, "work left behind"),
    ("reset-put", 1, 2 * BASE_MB, "work left behind"),
    ("reset-watch", 1, BASE_MB, "work left behind"),
    ("reset-keepalive", 1, BASE_MB, "work left behind"),
    ("range-calls", 1, BASE_MB, "answers"),
    ("range-calls", 8, BASE_MB, "answers"),
    ("continuation", 1, BASE_MB, "rate of empty frames"),
    ("continuation-16k", 1, BASE_MB, "32 MB a block"),
    ("settings", 1, BASE_MB, "rate of empty frames"),
    ("settings-unread", 1, BASE_MB, "rate of empty frames"),
    ("ping", 1, BASE_MB, "PingPolice"),
    ("ping-unread", 1, BASE_MB, "PingPolice"),
    ("empty-data", 1, BASE_MB, "rate of empty frames"),
    ("window-update", 1, BASE_MB, "rate of empty frames"),
    ("priority", 1, BASE_MB, "rate of empty frames"),
    ("unknown-frames", 1, BASE_MB, "nothing is kept"),
    ("hpack-bomb", 1, BASE_MB + 32, "headers"),
    ("hpack-bomb", 8, BASE_MB + 8 * 32, "headers"),
    ("hpack-bombs", 1, BASE_MB + 32, "headers"),
    ("unread-watch", 1, BASE_MB, "the stream's queue"),
    ("unread-keepalive", 1, BASE_MB, "the stream's queue"),
    ("unread-range", 1, BASE_MB + 128 * 3 + 150, "answers; 128 calls of 3 MB are always served"),
    ("http1-pipeline", 1, BASE_MB, "one answer"),
    ("http1-extension", 1, BASE_MB, "chunk line"),
    ("http1-trailers", 1, BASE_MB, "header bytes"),
    ("http1-headers", 1, BASE_MB, "header bytes"),
    ("http1-trickle", 2000, BASE_MB, "10 kB a connection"),
    ("http1-idle", 4000, BASE_MB, "10 kB a connection"),
    ("churn", 1, BASE_MB, "accepted connections"),
    ("churn", 8, BASE_MB, "accepted connections"),
    ("gzip-bomb", 1, BASE_MB, "requests"),
    ("huge-length", 1, BASE_MB, "nothing is kept"),
    ("half-sent", 50, BASE_MB + 50 * 8, "requests"),
    ("watch-churn", 1, BASE_MB, "work left behind"),
    ("count", 1, BASE_MB, "answers"),
    ("sorted", 1, 16 * BASE_MB, "ranges under way"),
]
SHORT = [("reset-unary", 8), ("range-calls", 8), ("settings", 1), ("ping", 1), ("hpack-bomb", 1), ("unread-watch", 1),
         ("unread-range", 1), ("http1-pipeline", 1), ("http1-extension", 1), ("gzip-bomb", 1)]
KINDS = ("put", "get", "linearizable")
BURN = """
while True:
    pass
"""


def memory_mb(member, field):
    text = pathlib.Path(f"/proc/{member.pid}/status").read_text()
    return int(next(line.split()[1] for line in text.splitlines() if line.startswith(field))) / 1024


def cpu_seconds(pid):
    fields = pathlib.Path(f"/proc/{pid}/stat").read_text().rsplit(")", 1)[1].split()
    return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")


def pinned(cpu, args, nice=0):
    command = ["taskset", "-c", str(cpu)] if cpu is not None else []
    return [*command, *(["nice", "-n", str(nice)] if nice else []), *map(str, args)]


class Burners:
    """In place of an attacker: two processes that use all the time they get."""

    def __init__(self, cpus):
        self.cpus, self.children = cpus, []

    def ask(self, line):
        if line == "on":
            self.children = [subprocess.Popen(pinned(cpu, [sys.executable, "-c", BURN], nice), preexec_fn=die_with_parent)
                             for cpu, nice in zip(self.cpus, (0, 19))]
            return []
        for child in self.children:
            child.kill()
            child.wait()
        return ["0", "0", "0", "-"]

    def close(self):
        self.ask("off")


class Bystander:
    def __init__(self, interop, member, cpu):
        self.talk = Conversation(pinned(cpu, [interop, "bystander", "--endpoint", member.endpoint]))

    def window(self, seconds):
        """(p50, p99) of each of KINDS in microseconds; None if calls fell out."""
        failed, late, *figures = map(int, self.talk.ask(str(int(seconds * 1000)), timeout=int(seconds) + 60))
        return failed, late, [(figures[3 * i + 1], figures[3 * i + 2]) for i in range(len(KINDS))]


def measure(args, interop, member, kind, connections):
    """One flood's row."""
    bystander = Bystander(interop, member, args.cpus[1])
    if kind == "control":
        attacker = Burners(args.cpus)
    else:
        attacker = Conversation(pinned(args.cpus[1], [interop, "flood", "--endpoint", member.endpoint, "--kind", kind,
                                                      "--connections", connections], nice=19))
    bystander.window(0.5)
    before = memory_mb(member, "VmRSS")
    pathlib.Path(f"/proc/{member.pid}/clear_refs").write_text("5")
    quiet, loud, sent, opened, ended, how = [], [], 0, 0, 0, []
    failed = late = 0
    share = 0.0
    for _ in range(args.rounds):
        f, l, times = bystander.window(args.seconds)
        failed, late = failed + f, late + l
        quiet.append(times)
        attacker.ask("on")
        time.sleep(0.3)
        begin, cpu = time.monotonic(), cpu_seconds(member.pid)
        f, l, times = bystander.window(args.seconds)
        share += (cpu_seconds(member.pid) - cpu) / (time.monotonic() - begin) / args.rounds
        failed, late = failed + f, late + l
        loud.append(times)
        s, o, e, h = attacker.ask("off")
        sent, opened, ended = sent + int(s), opened + int(o), ended + int(e)
        how += [] if h == "-" else [h]
        time.sleep(0.5)
    peak = memory_mb(member, "VmHWM")
    time.sleep(1)
    after = memory_mb(member, "VmRSS")
    attacker.close()
    bystander.talk.close()
    ratios = []
    plain = []
    for q in (0, 1):
        for i in range(len(KINDS)):
            a = statistics.median(w[i][q] for w in quiet)
            b = statistics.median(w[i][q] for w in loud)
            ratios.append(b / max(a, 1))
            plain.append((a, b))
    return {"kind": kind, "connections": connections, "mb_s": sent / 1e6 / args.rounds / (args.seconds + 0.3), "cpu": share,
            "p50": ratios[:3], "p99": ratios[3:], "plain": plain, "peak": peak - before, "kept": after - before,
            "opened": opened, "ended": ended, "how": how[-1] if how else "-", "failed": failed, "late": late}


HEAD = (f"{'flood':<18}{'conns':>6}{'MB/s':>8}{'cpu %':>7}  {'p50 put get lin':<18}{'p99 put get lin':<21}{'p99 get us':>14}"
        f"{'peak MB':>9}{'kept MB':>9}{'bound':>7}  connections ended, how (bound)")


def show(row, bound, text):
    ratios = "".join(f"{r:>6.2f}" for r in row["p50"]) + "  " + "".join(f"{r:>7.2f}" for r in row["p99"])
    us = "{:.0f}>{:.0f}".format(*row["plain"][4])
    print(f"{row['kind']:<18}{row['connections']:>6}{row['mb_s']:>8.2f}{row['cpu'] * 100:>7.0f}{ratios}{us:>14}{row['peak']:>9.0f}"
          f"{row['kept']:>9.0f}{bound or '':>7}  {row['ended']} of {row['opened']}, {row['how']} ({text})"
          + (f" FAILED CALLS {row['failed']}" if row["failed"] else "") + (f" LATE {row['late']}" if row["late"] else ""),
          flush=True)


def session(args, tools, name, program, folder):
    """All floods against one program."""
    print(f"\n{name}: {args.keys} keys, {args.rounds} windows of {args.seconds:g} s each way\n{HEAD}", flush=True)
    wrong = []
    control = [1.0] * len(KINDS)

    def fresh():
        member = Member(folder / f"{name}-{len(Member.members)}", ["--quota-backend-bytes", str(8 << 30)])
        member.start(pinned(args.cpus[0], program))
        if args.keys:
            run([tools.interop, "load", "--endpoint", member.endpoint, "--keys", args.keys, "--kind", "fill", "--connections", 4,
                 "--inflight", 4], timeout=600)
        for i in range(3):
            run([tools.oracle, "etcdctl", "--endpoints", member.endpoint, "put", f"long/{i}"], stdin="v" * 1_000_000)
        return member

    # A real etcd may take long to stop after some of these.
    end = lambda: member.stop() if name == "quoin" else member.kill()  # noqa: E731
    member = fresh()
    for kind, connections, bound, text in [("control", 0, None, "two burners")] + args.floods:
        row = measure(args, tools.interop, member, kind, connections)
        show(row, bound, text)
        if member.process.poll() is not None:
            raise Failure(f"{kind} ended the member")
        if kind == "control":
            control = [max(1.0, r) for r in row["p50"]]
            continue
        label = f"{name}: {kind} over {connections} connections"
        if row["peak"] > bound:
            wrong.append(f"{label}: {row['peak']:.0f} MB, its bound is {bound}")
        if row["failed"]:
            wrong.append(f"{label}: {row['failed']} calls of the bystander failed")
        for what, ratio, usual, (_, us) in zip(KINDS, row["p50"], control, row["plain"]):
            if ratio > args.ratio_max * usual and us > args.floor_us:
                wrong.append(f"{label}: p50 of {what} was {us / 1e3:.1f} ms, {ratio:.1f} times as long; the control {usual:.1f}")
        if row["kept"] > BASE_MB:
            end()
            member = fresh()
    end()
    return wrong


def add_arguments(parser):
    parser.add_argument("--short", action="store_true", help="few floods and short windows, for the test pass")
    parser.add_argument("--real", action="store_true", help="the same with a real etcd 3.6, to compare; it is not judged")
    parser.add_argument("--only", action="append", help="only floods whose name begins so")
    parser.add_argument("--keys", type=int, default=100_000)
    parser.add_argument("--seconds", type=float, default=2)
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--ratio-max", type=float, default=2)
    parser.add_argument("--floor-us", type=int, default=0)


def main(tools, args, folder):
    cpus = sorted(os.sched_getaffinity(0))
    args.cpus = cpus[:2] if len(cpus) > 1 and shutil.which("taskset") else [None, None]
    args.floods = [f for f in FLOODS if (not args.only or any(f[0].startswith(o) for o in args.only))
                   and (not args.short or f[:2] in SHORT)]
    wrong = session(args, tools, "quoin", tools.ours, folder)
    if args.real:
        session(args, tools, "etcd", tools.real, folder)
    if wrong:
        raise Failure("\n".join(wrong))


drive(main, __doc__, add_arguments, needs=["interop", "oracle-3.6"])
