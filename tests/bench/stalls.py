#!/usr/bin/env python3
"""The longest task on a strand or loop, and the longest gap between two ticks of raft, while a member does the work
that is known to hold others up: mass reconnects, streams that catch up from the first revision, a compaction of a
million revisions of one key, a DeleteRange of a million keys; all the time with a client beside it and a scrape of
/metrics each second. After each phase it prints what the member's own gauges say (they only grow) and the longest
wait of the client.

Fails if a task took longer than --limit-ms. The gauges are bare times, so what else runs on the machine counts, too:
the limit of 10 ms means something on a quiet machine with two processors to spare."""

import pathlib
import re
import sys
import urllib.request

sys.path.insert(0, str(pathlib.Path(__file__).resolve().parent.parent / "lib"))
from members import Failure, Member, drive, run  # noqa: E402

PHASES = ["idle", "catchup", "reconnect", "compact", "deleterange"]
TASK = re.compile(r'^quoin_executor_longest_task_seconds\{executor="([^"]+)"\} (\S+)$', re.M)
TICK = re.compile(r"^quoin_raft_longest_tick_gap_seconds (\S+)$", re.M)


def gauges(member):
    with urllib.request.urlopen(member.url + "/metrics", timeout=30) as r:
        text = r.read().decode()
    tasks = {name: float(value) * 1e3 for name, value in TASK.findall(text)}
    tick = TICK.search(text)
    if not tasks or not tick:
        raise Failure("/metrics has no quoin_executor_longest_task_seconds or quoin_raft_longest_tick_gap_seconds")
    return tasks, float(tick.group(1)) * 1e3


def add_arguments(parser):
    parser.add_argument("--keys", type=int, default=1_000_000)
    parser.add_argument("--hot", type=int, default=1_000_000, help="puts of one key")
    parser.add_argument("--streams", type=int, default=20)
    parser.add_argument("--watchers", type=int, default=500, help="on each stream of the reconnect")
    parser.add_argument("--limit-ms", type=float, default=10)


def main(tools, args, folder):
    member = Member(folder / "quoin", ["--quota-backend-bytes", str(8 << 30)])
    member.start(tools.ours)
    common = ["--endpoint", member.endpoint, "--keys", args.keys]
    run([tools.interop, "load", *common, "--kind", "fill", "--connections", 4, "--inflight", 4], timeout=1200)
    run([tools.interop, "load", "--endpoint", member.endpoint, "--keys", 1, "--kind", "put", "--calls", args.hot],
        timeout=1200)
    print(f"{args.keys} keys, {args.hot} revisions of one key, {args.streams} streams\n")
    print(f"{'phase':<14}{'seconds':>9}{'probes':>8}{'put max ms':>12}{'get max ms':>12}{'tick gap ms':>13}  longest task, ms")
    worst = 0.0
    for phase in PHASES:
        done = run([tools.interop, "stalls", *common, "--phase", phase, "--streams", args.streams, "--watchers", args.watchers],
                   timeout=1200)
        seconds, probes, put, get = done.stdout.split()
        tasks, tick = gauges(member)
        worst = max(worst, *tasks.values())
        shown = ", ".join(f"{name} {ms:.1f}" for name, ms in sorted(tasks.items(), key=lambda t: -t[1]))
        print(f"{phase:<14}{float(seconds):>9.1f}{probes:>8}{int(put) / 1000:>12.1f}{int(get) / 1000:>12.1f}{tick:>13.1f}  {shown}",
              flush=True)
    member.stop()
    if worst > args.limit_ms:
        raise Failure(f"a task took {worst:.1f} ms, more than {args.limit_ms:g}")


drive(main, __doc__, add_arguments, needs=["interop"])
