#!/usr/bin/env python3
"""Server CPU per request beside a real etcd 3.6, in the same run: utime+stime of the server's process from
/proc/PID/stat over the calls answered. Each operation runs on one server while the other idles, rounds alternate,
and the best round of each counts, since what disturbs a round only adds.

Figures are ratios; the bare microseconds beside them are this machine's and this load's."""

import os
import pathlib
import sys

sys.path.insert(0, str(pathlib.Path(__file__).resolve().parent.parent / "lib"))
from members import Failure, Member, drive, run  # noqa: E402

OPERATIONS = ["put", "range", "linearizable", "txn", "page", "keepalive"]
TICKS = os.sysconf("SC_CLK_TCK")


def cpu_seconds(pid):
    with open(f"/proc/{pid}/stat", encoding="ascii") as f:
        fields = f.read().rpartition(")")[2].split()
    return (int(fields[11]) + int(fields[12])) / TICKS


def resident_mb(pid):
    values = {}
    with open(f"/proc/{pid}/status", encoding="ascii") as f:
        for line in f:
            name, _, rest = line.partition(":")
            if name in ("RssAnon", "RssFile"):
                values[name] = int(rest.split()[0]) // 1024
    return values


def load(interop, member, kind, args, connections=None, inflight=None, seconds=None):
    done = run([interop, "load", "--endpoint", member.endpoint, "--kind", kind, "--keys", args.keys, "--value", args.value,
                "--connections", connections or args.connections, "--inflight", inflight or args.inflight,
                "--duration", f"{seconds or args.seconds}s"], timeout=1200)
    calls, seconds, errors, p50, p99 = done.stdout.split()
    if int(errors):
        raise Failure(f"{kind}: {errors} of {calls} calls failed")
    return int(calls), float(seconds), int(p50), int(p99)


def measure(interop, member, kind, args):
    """(CPU µs per call, calls per second, p50 µs, p99 µs)"""
    before = cpu_seconds(member.pid)
    # A page of a large store keeps an etcd busy for 100 ms: more than one per connection only waits.
    calls, seconds, p50, p99 = load(interop, member, kind, args, inflight=1 if kind == "page" else None)
    spent = cpu_seconds(member.pid) - before
    return spent / calls * 1e6, calls / seconds, p50, p99


def add_arguments(parser):
    parser.add_argument("--interop", help="the load generator (default: beside the oracle)")
    parser.add_argument("--keys", type=int, default=1_000_000)
    parser.add_argument("--value", type=int, default=256)
    parser.add_argument("--connections", type=int, default=50)
    parser.add_argument("--inflight", type=int, default=10)
    parser.add_argument("--seconds", type=float, default=5)
    parser.add_argument("--rounds", type=int, default=2)
    parser.add_argument("--operations", default=",".join(OPERATIONS))


def main(tools, args, folder):
    interop = args.interop or tools.interop
    flags = ["--quota-backend-bytes", str(8 << 30)]
    members = {"quoin": Member(folder / "quoin", flags), "etcd": Member(folder / "etcd", flags)}
    programs = {"quoin": tools.ours, "etcd": tools.real}
    for name, member in members.items():
        member.start(programs[name])
        calls, seconds, _, _ = load(interop, member, "fill", args, connections=4, inflight=4)
        rss = resident_mb(member.pid)
        print(f"{name}: {args.keys} keys of 32 + {args.value} bytes written in {seconds:.1f} s; memory: "
              f"{rss['RssAnon']} MB anonymous, {rss['RssFile']} MB of files", flush=True)
    print(f"{args.connections} connections x {args.inflight} in flight, {args.seconds:g} s a round, best of {args.rounds}\n")
    print(f"{'operation':<14}{'quoin µs CPU':>14}{'etcd µs CPU':>14}{'ratio':>8}{'quoin /s':>12}{'etcd /s':>12}"
          f"{'quoin p50/p99 ms':>20}{'etcd p50/p99 ms':>20}", flush=True)
    for operation in args.operations.split(","):
        best = {}
        for _ in range(args.rounds):
            for name, member in members.items():
                result = measure(interop, member, operation, args)
                if name not in best or result[0] < best[name][0]:
                    best[name] = result
        q, e = best["quoin"], best["etcd"]

        def latency(r):
            return f"{r[2] / 1000:.1f}/{r[3] / 1000:.1f}"

        ratio = f"{e[0] / q[0]:.1f}x" if q[0] else "-"
        print(f"{operation:<14}{q[0]:>14.1f}{e[0]:>14.1f}{ratio:>8}{q[1]:>12.0f}{e[1]:>12.0f}{latency(q):>20}{latency(e):>20}",
              flush=True)
    for member in members.values():
        member.stop()


if __name__ == "__main__":
    drive(main, __doc__, add_arguments)
