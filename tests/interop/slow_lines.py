#!/usr/bin/env python3
"""The lines about slow and failed requests, word for word: the same requests, by etcdctl, to the program under test
and to a real etcd 3.6, both told to call everything slow. Compared are the lines `apply request took too long`,
`failed to apply request` and `request stats` that each request leaves: level, keys in order, and every value but the
times, the ports, and ids drawn by chance."""

import json
import pathlib
import re
import sys
import time

sys.path.insert(0, str(pathlib.Path(__file__).resolve().parent.parent / "lib"))
from members import Failure, Member, drive, expect, run  # noqa: E402

MESSAGES = ("apply request took too long", "failed to apply request", "request stats")
FLAGS = ["--warning-apply-duration=1ns", "--warning-unary-request-duration=1ns"]
TIME = re.compile(r"^\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d\.\d{6}(Z|[+-]\d{4})$")
DURATION = re.compile(r"^([0-9.]+(ns|µs|ms|s|m|h))+$")

# Arguments of etcdctl and its input; LEASE is the id of the lease granted last. A request that etcdctl fails on is one
# that the members refuse.
REQUESTS = [
    (["put", "foo", "bar"], None),
    (["put", "empty", ""], None),
    (["put", 'q"uo\\te', "x"], None),
    (["put", "tab\tnew\nline\rü\x7f", "x"], None),
    (["put", "foo", "bar2", "--prev-kv"], None),
    (["put", "foo", "--ignore-value"], None),
    (["put", "absent", "--ignore-value"], None),
    (["put", "foo", "bar3", "--ignore-lease"], None),
    (["put", "x", "y", "--lease=7b"], None),
    (["get", "foo"], None),
    (["get", "foo", "--consistency=s"], None),
    (["get", "", "--from-key", "--limit=2"], None),
    (["get", "", "--prefix", "--keys-only", "--order=DESCEND", "--sort-by=MODIFY"], None),
    (["get", "", "--prefix", "--order=ASCEND", "--sort-by=VALUE"], None),
    (["get", "", "--prefix", "--order=ASCEND", "--sort-by=VERSION"], None),
    (["get", "", "--prefix", "--order=ASCEND", "--sort-by=CREATE"], None),
    (["get", "", "--prefix", "--count-only", "--write-out=fields"], None),
    (["get", "f", "g"], None),
    (["get", "absent"], None),
    (["get", "foo", "--rev=2"], None),
    (["get", "foo", "--rev=1000"], None),
    (["del", "empty"], None),
    (["del", "absent"], None),
    (["del", "q", "r", "--prev-kv"], None),
    (["lease", "grant", "100"], None),
    (["put", "leased", "v", "--lease=LEASE"], None),
    (["lease", "timetolive", "LEASE", "--keys"], None),
    (["lease", "list"], None),
    (["lease", "revoke", "LEASE"], None),
    (["lease", "revoke", "123"], None),
    (["txn"], 'mod("foo") > "0"\nvalue("foo") = "bar3"\n\nput a 1\nget foo\n\nget x\nget y\n\n'),
    (["txn"], 'ver("foo") = "0"\ncreate("foo") != "0"\n\nput a 1\n\nput a 2\ndel b c\nget foo\n\n'),
    (["txn"], 'lease("foo") = "0"\nval("foo") < ""\n\nget a\n\nget foo\nget absent\n\n'),
    (["txn"], '\nget x\nget y\n\n\n'),
    (["txn"], '\nget foo --rev=1000\n\n\n'),
    (["txn"], '\nput a 1 --lease=7b\n\n\n'),
    (["txn"], '\n\n\n'),
    (["compact", "3"], None),
    (["compact", "3"], None),
    (["compact", "1000"], None),
    (["get", "foo", "--rev=2"], None),
    (["compact", "5", "--physical"], None),
    (["alarm", "list"], None),
    (["alarm", "disarm"], None),
    (["member", "list"], None),
    (["endpoint", "status"], None),
    (["endpoint", "hashkv"], None),
    (["defrag"], None),
]


class Lines:
    """What a member writes to its log from one point to the next."""

    def __init__(self, member):
        self.member = member
        self.at = member.log.stat().st_size

    def take(self):
        with open(self.member.log, "rb") as f:
            f.seek(self.at)
            data = f.read()
        self.at += data.rfind(b"\n") + 1
        lines = []
        for raw in data[:data.rfind(b"\n") + 1].splitlines():
            try:
                line = json.loads(raw, object_pairs_hook=lambda pairs: pairs)
            except ValueError:
                continue
            if isinstance(line, list) and dict(line).get("msg") in MESSAGES:
                lines.append(line)
        return lines


def masked(line):
    """The line as text, without what differs by nature; checks the form of that."""
    out = []
    for key, value in line:
        if key in ("ts", "caller"):
            continue
        if key in ("took", "time spent"):
            expect(DURATION.match(value), f"{key} is {value}")
            value = "<duration>"
        elif key == "start time":
            expect(TIME.match(value), f"{key} is {value}")
            value = "<time>"
        elif key == "remote":
            value = re.sub(r":\d+$", ":<port>", value)
        elif key in ("request", "request content"):
            value = re.sub(r"\bID:\d{10,}", "ID:<id>", value)
            value = re.sub(r"\bid:[0-9a-f]{16}", "id:<lease>", value)
            value = re.sub(r"\blease:\d{10,}", "lease:<lease>", value)
            value = re.sub(r"\bmemberID:\d{10,}", "memberID:<member>", value)
        out.append(f"{key}={value!r}")
    return " ".join(out)


class Side:
    def __init__(self, tools, member):
        self.tools = tools
        self.member = member
        self.lines = Lines(member)
        self.lease = "0"

    def ask(self, args, text):
        args = [a.replace("LEASE", self.lease) for a in args]
        done = self.tools.etcdctl(self.member, *args, check=False, stdin=text)
        if args[:2] == ["lease", "grant"]:
            self.lease = done.stdout.split()[1]
        return done

    def settled(self):
        """The lines of one request: etcd writes some after the answer."""
        found, deadline = [], time.monotonic() + 3
        quiet = time.monotonic()
        while time.monotonic() < deadline and time.monotonic() - quiet < 0.15:
            new = self.lines.take()
            if new:
                found += new
                quiet = time.monotonic()
            time.sleep(0.01)
        return sorted(masked(line) for line in found)


def compare(ours, real, what, text):
    for side in (ours, real):
        side.settled()
    answers = [side.ask(what, text) for side in (ours, real)]
    got, want = ours.settled(), real.settled()
    expect(answers[0].returncode == answers[1].returncode,
           f"etcdctl {what} ends with {answers[0].returncode} and {answers[1].returncode}: {answers[0].stderr}")
    if got != want:
        missing = "\n".join(f"  real {line}" for line in want if line not in got)
        extra = "\n".join(f"  ours {line}" for line in got if line not in want)
        print(f"etcdctl {' '.join(what)!r} {text!r}:\n{missing}\n{extra}", flush=True)
        return 0, 1
    return len(got), 0


def start(folder, program, flags):
    member = Member(folder, [*FLAGS, *flags], constant_identity=True)
    member.start(program)
    return member


def main(tools, args, folder):
    for level in ("warn", "debug"):
        flags = [f"--log-level={level}"]
        ours = Side(tools, start(folder / f"ours-{level}", tools.ours, flags))
        real = Side(tools, start(folder / f"real-{level}", tools.real, flags))
        total = wrong = 0
        for what, text in REQUESTS:
            same, different = compare(ours, real, what, text)
            total += same
            wrong += different
        # Every request is a unary call at least.
        expect(wrong or total > len(REQUESTS), f"only {total} lines were seen")
        print(f"level {level}: {len(REQUESTS)} requests, {total} equal lines, {wrong} requests with others", flush=True)
        ours.member.stop()
        real.member.stop()
        if wrong:
            raise Failure(f"{wrong} requests left other lines")


drive(main, __doc__, needs=("oracle-3.6",))
