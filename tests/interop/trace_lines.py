#!/usr/bin/env python3
"""The lines `trace[<n>] <operation>` of requests that take longer than 100 ms, word for word: the same requests, by
etcdctl, to the leader of three members under test and of three real ones. While a request is under way the two followers
stand still for a while, so that it waits for raft, and what follows is fast. Compared are level, message and keys in
order, details, and the steps that are listed."""

import concurrent.futures
import pathlib
import re
import sys
import threading

sys.path.insert(0, str(pathlib.Path(__file__).resolve().parent.parent / "lib"))
from cluster import Cluster, wait_until  # noqa: E402
from members import drive, expect  # noqa: E402

PAUSE_SECONDS = 3  # etcdctl must be on its way by then, on a busy machine too
LONG_SECONDS = 0.2
NUMBER = re.compile(r"^trace\[(\d+)\] ")
TIME = re.compile(r"^\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d\.\d{6}(Z|[+-]\d{4})$")
DURATION = re.compile(r"^(?:([0-9.]+)(ns|µs|ms|s))$")
UNIT = {"ns": 1e-9, "µs": 1e-6, "ms": 1e-3, "s": 1.0}
STEP = re.compile(r"^trace\[(\d+)\] '([^']*)' (\{.*\})? ?\(duration: ([^)]+)\)$")

# Arguments of etcdctl, its input, and the operations that etcd tells of. A linearizable read is two lines: of the call,
# and of the round that it shares with others.
READ_LOOP = "linearizableReadLoop"
REQUESTS = [
    (["put", "foo", "bar"], None, ["put"]),
    (["put", "a b;c", "quite another"], None, ["put"]),
    (["get", "foo"], None, [READ_LOOP, "range"]),
    (["get", "a", "z", "--limit=1"], None, [READ_LOOP, "range"]),
    (["get", "", "--prefix", "--count-only", "--write-out=fields"], None, [READ_LOOP, "range"]),
    (["get", "foo", "--rev=1000"], None, [READ_LOOP, "range"]),
    (["get", "foo", "--consistency=s"], None, []),
    (["del", "nothing"], None, []),
    (["lease", "grant", "100"], None, []),
    (["txn"], 'mod("foo") > "0"\n\nput x 1\nput y 2\nget foo\n\nget x\n\n', ["transaction"]),
    (["txn"], 'mod("foo") = "0"\n\nput x 1\nput y 2\nget foo\n\ndel x\n\n', ["transaction"]),
    (["txn"], 'mod("foo") > "0"\n\nget x\nget y\n\nget x\n\n', [READ_LOOP, "transaction"]),
    (["put", "foo", "v", "--lease=7b"], None, []),  # refused
    (["compact", "3"], None, ["compact"]),
    (["compact", "3"], None, []),  # refused
    (["compact", "4", "--physical"], None, ["compact"]),
]


def seconds(text):
    parts = DURATION.match(text)
    expect(parts, f"{text} is no duration")
    return float(parts[1]) * UNIT[parts[2]]


def masked(line):
    """The line without its times; checks these and its number."""
    number = NUMBER.match(line["msg"])
    expect(number and int(number[1]) < 1 << 31, f"the number of {line['msg']}")
    for key in ("start", "end"):
        expect(TIME.match(line[key]), f"{key} is {line[key]}")
    expect(seconds(line["duration"]) > 0.1, f"duration is {line['duration']}")
    expect(line["step_count"] == len(line["steps"]), f"step_count of {line}")
    steps = []
    for step in line["steps"]:
        parts = STEP.match(step)
        expect(parts and parts[1] == number[1], f"step {step!r} of {line['msg']}")
        # What else takes its time on a busy machine differs.
        if READ_LOOP in line["msg"] or seconds(parts[4]) > LONG_SECONDS:
            steps.append((parts[2], parts[3]))
    detail = re.sub(r"Index:\d+", "Index:<n>", line["detail"])
    keys = [k for k in line if k not in ("ts", "caller")]
    return line["level"], NUMBER.sub("", line["msg"]), detail, tuple(steps), tuple(keys)


class Side:
    def __init__(self, tools, folder, kind):
        self.tools = tools
        # Nobody campaigns within the pauses.
        self.cluster = Cluster(tools, folder, [kind] * 3, election=10_000, heartbeat=50,
                               options={"initial-election-tick-advance": "true"}).found()
        self.leader = self.cluster.wait_leader()
        self.at = self.leader.log_end()

    def ask(self, args, text):
        others = [n for n in self.cluster.nodes if n is not self.leader]
        for n in others:
            n.pause()
        timer = threading.Timer(PAUSE_SECONDS, lambda: [n.go_on() for n in others])
        timer.start()
        done = self.tools.etcdctl(self.leader, *args, check=False, stdin=text)
        timer.join()
        return done

    def traces(self, count):
        """Of the last request, once there are that many."""
        found = []

        def there():
            found[:] = [masked(line) for _, line in self.leader.log_lines(self.at) if line.get("msg", "").startswith("trace[")]
            return len(found) >= count or found
        wait_until(there, f"{count} trace lines", 10)
        self.at = self.leader.log_end()
        return sorted(found)


def main(tools, args, folder):
    sides = [Side(tools, folder / kind.replace(".", ""), kind) for kind in ("quoin", "3.6")]
    total = 0
    for what, text, operations in REQUESTS:
        with concurrent.futures.ThreadPoolExecutor() as both:
            codes = [done.returncode for done in both.map(lambda side: side.ask(what, text), sides)]
        expect(codes[0] == codes[1], f"etcdctl {what} ends with {codes[0]} and {codes[1]}")
        got, want = [side.traces(len(operations)) for side in sides]
        expect([t[1] for t in want] == sorted(operations), f"etcdctl {what}: real members say {want}")
        expect(got == want, f"etcdctl {what} {text!r}:\n  ours {got}\n  real {want}")
        total += len(got)
    print(f"{len(REQUESTS)} requests, {total} equal lines", flush=True)


drive(main, __doc__, needs=("oracle-3.6", "interop"))
