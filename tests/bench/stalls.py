#!/usr/bin/env python3
"""The longest task on a strand or loop, and the longest gap between two ticks of raft, while a member does the work
that is known to hold others up: mass reconnects, streams that catch up from the first revision, a compaction of a
million revisions of one key, a DeleteRange of a million keys; all the time with a client beside it, a process of its
own, and a scrape of /metrics each second. After each phase it prints what the member's own gauges say (they only grow)
and how long the client waited: 99 of 100 times at most, and at most.

Of each strand and loop the longest task is printed twice: the time it took, and behind it the processor time. The
first counts what else runs on the machine, too: it means something on a quiet one with two processors to spare. The
second is what the member did, at most a millisecond too much (0: no task took more than one). Fails if the one that
--judge names is longer than --limit-ms."""

import pathlib
import re
import subprocess
import sys
import time
import urllib.request

sys.path.insert(0, str(pathlib.Path(__file__).resolve().parent.parent / "lib"))
from members import Failure, Member, die_with_parent, drive, run  # noqa: E402

PHASES = ["idle", "catchup", "reconnect", "compact", "deleterange"]
TASK = re.compile(r'^quoin_executor_longest_task_(cpu_)?seconds\{executor="([^"]+)"\} (\S+)$', re.M)
TICK = re.compile(r"^quoin_raft_longest_tick_gap_seconds (\S+)$", re.M)


def gauges(member):
    with urllib.request.urlopen(member.url + "/metrics", timeout=30) as r:
        text = r.read().decode()
    tasks = {}  # name -> wall, cpu
    for cpu, name, value in TASK.findall(text):
        tasks.setdefault(name, [0.0, 0.0])[1 if cpu else 0] = float(value) * 1e3
    tick = TICK.search(text)
    if not tasks or not tick:
        raise Failure("/metrics has no quoin_executor_longest_task_seconds or quoin_raft_longest_tick_gap_seconds")
    return tasks, float(tick.group(1)) * 1e3


class Probe:
    """The client beside the work."""
    def __init__(self, interop, endpoint):
        self.child = subprocess.Popen([str(interop), "stalls", "--endpoint", endpoint, "--phase", "probe"], text=True,
                                      preexec_fn=die_with_parent, stdin=subprocess.PIPE, stdout=subprocess.PIPE,
                                      stderr=subprocess.STDOUT)

    def end(self):
        """Its line: how often it asked, and its waits."""
        try:
            line, _ = self.child.communicate(timeout=60)
        except subprocess.TimeoutExpired:
            raise Failure("the client beside the work does not end") from None
        if self.child.returncode != 0:
            raise Failure(f"the client beside the work: {line}")
        return [int(n) for n in line.split()]


def add_arguments(parser):
    parser.add_argument("--keys", type=int, default=1_000_000)
    parser.add_argument("--hot", type=int, default=1_000_000, help="puts of one key")
    parser.add_argument("--streams", type=int, default=20)
    parser.add_argument("--watchers", type=int, default=500, help="on each stream of the reconnect")
    parser.add_argument("--limit-ms", type=float, default=10)
    parser.add_argument("--judge", choices=["wall", "cpu"], default="wall")


def main(tools, args, folder):
    member = Member(folder / "quoin", ["--quota-backend-bytes", str(8 << 30)])
    member.start(tools.ours)
    common = ["--endpoint", member.endpoint, "--keys", args.keys]
    print(f"{args.keys} keys, {args.hot} revisions of one key, {args.streams} streams; waits in ms\n")
    print(f"{'phase':<12}{'seconds':>8}{'probes':>7}{'put 99%':>9}{'max':>8}{'get 99%':>9}{'max':>8}{'tick gap':>10}"
          "  longest task, ms: time/processor")
    worst = 0.0

    def show(phase, seconds, waits):
        nonlocal worst
        tasks, tick = gauges(member)
        worst = max(worst, *(wall if args.judge == "wall" else cpu for wall, cpu in tasks.values()))
        shown = ", ".join(f"{name} {wall:.1f}/{cpu:.1f}"
                          for name, (wall, cpu) in sorted(tasks.items(), key=lambda t: -t[1][0]))
        probes, *times = waits or [""] * 5
        times = [f"{us / 1000:.1f}" if us != "" else "" for us in times]
        print(f"{phase:<12}{seconds:>8.1f}{probes:>7}{times[0]:>9}{times[1]:>8}{times[2]:>9}{times[3]:>8}{tick:>10.1f}"
              f"  {shown}", flush=True)

    began = time.monotonic()
    run([tools.interop, "load", *common, "--kind", "fill", "--connections", 4, "--inflight", 4], timeout=1200)
    run([tools.interop, "load", "--endpoint", member.endpoint, "--keys", 1, "--kind", "put", "--calls", args.hot], timeout=1200)
    show("fill", time.monotonic() - began, None)
    for phase in PHASES:
        probe = Probe(tools.interop, member.endpoint)
        time.sleep(0.3)
        done = run([tools.interop, "stalls", *common, "--phase", phase, "--streams", args.streams, "--watchers", args.watchers],
                   timeout=1200)
        show(phase, float(done.stdout), probe.end())
    member.stop()
    if worst > args.limit_ms:
        raise Failure(f"a task took {worst:.1f} ms ({args.judge}), more than {args.limit_ms:g}")


drive(main, __doc__, add_arguments, needs=["interop"])
