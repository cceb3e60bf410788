#!/usr/bin/env python3
"""Three members beside three real ones on one machine, in the same run: one cluster works while the other idles, rounds
alternate, and the best round of each counts. CPU is that of all members of a cluster together, over the calls answered.

Put throughput and CPU, linearizable one-key reads, an idle put (one at a time), reads and writes through a follower; then a
member joins a cluster with much data: the time until it is in sync, and the longest put meanwhile. Figures are ratios; the
bare ones beside them are this machine's and this load's. With --judge, a ratio beyond its bound fails the run."""

import pathlib
import sys
import threading
import time

sys.path.insert(0, str(pathlib.Path(__file__).resolve().parent.parent / "lib"))
import cluster as clusters  # noqa: E402  (the one in lib, which comes first)
from compare import cpu_seconds, load, resident_mb  # noqa: E402
from members import Failure, drive, expect  # noqa: E402

# (name, kind of load, at the leader, connections and calls in flight on each; 0: as told)
OPERATIONS = [("put at the leader", "put", True, 0, 0), ("linearizable read at the leader", "linearizable", True, 0, 0),
              ("idle put at the leader", "put", True, 1, 1), ("put at a follower", "put", False, 0, 0),
              ("linearizable read at a follower", "linearizable", False, 0, 0), ("serializable read at a follower", "range", False, 0, 0),
              ("idle put at a follower", "put", False, 1, 1)]

# What the first cluster may be at most of the second: (operation, what, bound)
BOUNDS = [("put at the leader", "cpu", 1 / 6), ("put at the leader", "rate", 1 / 5),
          ("linearizable read at the leader", "cpu", 1 / 6), ("idle put at the leader", "p50", 0.6),
          ("idle put at the leader", "p99", 0.6)]


def spent(cluster):
    return sum(cpu_seconds(n.pid) for n in cluster.nodes)


def measure(tools, cluster, operation, args):
    _, kind, at_leader, connections, inflight = operation
    node = cluster.wait_leader() if at_leader else cluster.followers()[0]
    before = spent(cluster)
    calls, seconds, p50, p99 = load(tools.interop, node, kind, args, connections or args.connections, inflight or args.inflight)
    used = spent(cluster) - before
    return {"cpu": used / calls * 1e6, "rate": calls / seconds, "p50": p50, "p99": p99}


class Prober(threading.Thread):
    """One put after the other, and the longest of them."""

    def __init__(self, tools, node):
        super().__init__(daemon=True)
        self.ctl = clusters.Ctl(tools)
        self.node = node
        self.times, self.bad = [], []
        self.ends = threading.Event()

    def run(self):
        while not self.ends.is_set():
            began = time.monotonic()
            answer = self.ctl.call("put", self.node, 30, Key="probe", Size=256)
            self.times.append(time.monotonic() - began)
            if answer["code"] != "OK":
                self.bad.append(answer)
            time.sleep(0.001)

    def close(self):
        self.ends.set()
        self.join(40)
        self.ctl.close()
        return self


def join(tools, name, cluster, kind, args):
    """Fills a cluster and lets a learner join it: seconds until it is in sync, longest put."""
    leader = cluster.wait_leader()
    # One call of the filling has 100 keys, and must fit into the window that a stream begins with (64 KiB).
    args.keys, args.value = max(1, args.size_mb * 2000), 500
    began = time.monotonic()
    load(tools.interop, leader, "fill", args, connections=4, inflight=1)
    cluster.wait_in_sync(300)
    filled = time.monotonic() - began
    leader = cluster.wait_leader()
    before = Prober(tools, leader)
    before.start()
    time.sleep(3)
    before.close()
    memory = resident_mb(leader.pid)["RssAnon"]
    prober = Prober(tools, leader)
    prober.start()
    began = time.monotonic()
    node = cluster.add(kind, learner=True, start=False)
    node.start()
    node.wait_ready(300)
    cluster.wait_in_sync(300)
    took = time.monotonic() - began
    prober.close()
    expect(not prober.bad, f"puts failed while {node} joined: {prober.bad[:2]}")
    grown = resident_mb(leader.pid)["RssAnon"] - memory
    print(f"{name}: {args.size_mb} MB written in {filled:.1f} s; a new member in sync after {took:.2f} s; longest put meanwhile "
          f"{max(prober.times) * 1000:.1f} ms of {len(prober.times)} (before: {max(before.times) * 1000:.1f} ms of "
          f"{len(before.times)}); the leader's memory grew by {grown} MB", flush=True)
    return took, max(prober.times)


def main(tools, args, folder):
    kinds = {"ours": clusters.kinds_of(args), "real": args.reference.split(",")}
    options = {"quota-backend-bytes": 8 << 30}
    both = {}
    for name in kinds:
        both[name] = clusters.Cluster(tools, folder / name, kinds[name], options=options).found()
        load(tools.interop, both[name].wait_leader(), "fill", args, connections=4, inflight=4)
    print(f"ours: {', '.join(kinds['ours'])}; real: {', '.join(kinds['real'])}; {args.keys} keys, {args.connections} connections x "
          f"{args.inflight} in flight, {args.seconds:g} s a round, best of {args.rounds}\n")
    print(f"{'operation':<34}{'ours µs CPU':>12}{'real':>8}{'ratio':>8}{'ours /s':>10}{'real':>9}{'ratio':>8}"
          f"{'ours p50/p99 ms':>18}{'real':>16}", flush=True)
    best = {}
    for operation in OPERATIONS:
        for _ in range(args.rounds):
            for name, cluster in both.items():
                r = measure(tools, cluster, operation, args)
                if (operation[0], name) not in best or r["cpu"] < best[operation[0], name]["cpu"]:
                    best[operation[0], name] = r
        o, r = best[operation[0], "ours"], best[operation[0], "real"]

        def latency(x):
            return f"{x['p50'] / 1000:.2f}/{x['p99'] / 1000:.2f}"

        ratios = [f"{a / b:.2f}x" if b else "-" for a, b in ((r["cpu"], o["cpu"]), (o["rate"], r["rate"]))]
        print(f"{operation[0]:<34}{o['cpu']:>12.1f}{r['cpu']:>8.1f}{ratios[0]:>8}{o['rate']:>10.0f}{r['rate']:>9.0f}{ratios[1]:>8}"
              f"{latency(o):>18}{latency(r):>16}", flush=True)
    print()
    for cluster in both.values():
        cluster.check_hashes()
        cluster.stop()
        cluster.close()
    for name in both if args.size_mb else ():
        # A disk that is busy with the filling must not cost the leader the lead.
        cluster = clusters.Cluster(tools, folder / f"join-{name}", kinds[name], options=options, election=5000, heartbeat=500).found()
        join(tools, name, cluster, kinds[name][0], args)
        cluster.stop()
        cluster.close()
    if args.judge:
        bad = []
        for operation, what, bound in BOUNDS:
            o, r = best[operation, "ours"][what], best[operation, "real"][what]
            ratio = r / o if what == "rate" else o / r
            if ratio > bound:
                bad.append(f"{operation}: {what} {o:.1f}, real {r:.1f}: {ratio:.2f} > {bound:.2f}")
        if bad:
            raise Failure("; ".join(bad))


def arguments(parser):
    parser.add_argument("--members", default="quoin,quoin,quoin")
    parser.add_argument("--reference", default="3.6,3.6,3.6")
    parser.add_argument("--keys", type=int, default=10_000)
    parser.add_argument("--value", type=int, default=256)
    parser.add_argument("--connections", type=int, default=50)
    parser.add_argument("--inflight", type=int, default=10)
    parser.add_argument("--seconds", type=float, default=5)
    parser.add_argument("--rounds", type=int, default=2)
    parser.add_argument("--size-mb", type=int, default=1000, help="data a new member gets (0: none joins)")
    parser.add_argument("--judge", action="store_true")


drive(main, __doc__, arguments, needs=("interop", "oracle-3.6"))
