#!/usr/bin/env python3
"""What a member does by itself about its data, beside a real etcd 3.6: the check at start, the periodic ones, the
hashes of compactions, and the defragmentation at start. Compared are the lines they write: text, keys in order, and
every value but the times and the sizes of the file. What needs space to give back begins with a directory that the
real program left."""

import json
import pathlib
import sys
import time

sys.path.insert(0, str(pathlib.Path(__file__).resolve().parent.parent / "lib"))
from members import Failure, Member, drive, expect  # noqa: E402

FLAGS = ["--feature-gates=InitialCorruptCheck=true,CompactHashCheck=true", "--compact-hash-check-time=3s",
         "--corrupt-check-time=4s", "--bootstrap-defrag-threshold-megabytes=1"]
MESSAGES = ("corruption check", "compact hash check", "compaction hash check", "kv hash's monitor",
            "compact hash's monitor", "efragment")


def lines(member):
    """One text a line, of the newest start."""
    text = member.log.read_text(errors="replace").rpartition("--- start")[2]
    out = []
    for raw in text.splitlines():
        try:
            pairs = json.loads(raw, object_pairs_hook=lambda p: p)
        except ValueError:
            continue
        msg = dict(pairs).get("msg", "")
        if not any(m in msg for m in MESSAGES):
            continue
        out.append(" ".join(k if k in ("ts", "caller", "took", "path") or k.startswith("current-db") else f"{k}={v}"
                            for k, v in pairs))
    return out


# What comes round every 3 and 4 seconds.
PERIODIC = ("starting compact hash check", "finished compaction hash check", "finished peer corruption check")


def told(got, periodic):
    """The different lines, in no order: how often the checks come round in a life is up to the machine, the ends of the
    two monitors overtake each other, and we defragment once the strands run, behind the first check. Of the checks of
    compactions the one that saw all of them."""
    if not periodic:
        got = [line for line in got if not any(p in line for p in PERIODIC)]
    hashes = [line for line in got if "number-of-hashes-checked=" in line]
    return sorted((set(got) - set(hashes)) | set(sorted(hashes)[-1:]))


def one_life(tools, member, program, seconds, work=None):
    member.start(program)
    began = time.monotonic()
    if work:
        work()
    time.sleep(max(0, began + seconds - time.monotonic()))
    member.stop()
    return lines(member)


def main(tools, args, folder):
    members = [Member(folder / name, FLAGS, constant_identity=True) for name in ("ours", "real")]
    programs = [tools.ours, tools.real]
    wrong = 0

    # `periodic`: the life is long enough for each check to come round at least once, however slow the machine.
    def compare(what, seconds, work=None, periodic=True):
        nonlocal wrong
        got, want = [one_life(tools, m, p, seconds, work and (lambda m=m: work(m)))
                     for m, p in zip(members, programs)]
        if told(got, periodic) != told(want, periodic):
            print(f"{what}:\n  ours: " + "\n        ".join(got) + "\n  real: " + "\n        ".join(want), flush=True)
            wrong += 1
        else:
            print(f"{what}: {len(told(got, periodic))} equal lines", flush=True)
        return got

    def compactions(member):
        for i in range(6):
            tools.etcdctl(member, "put", "k", str(i))
        tools.etcdctl(member, "compact", "3", "--physical")
        tools.etcdctl(member, "compact", "5", "--physical")

    def leave_space(member):
        for _ in range(30):
            tools.etcdctl(member, "put", "big", stdin="v" * 100_000)
        tools.etcdctl(member, "compact", "37", "--physical")

    compare("first start", 10.5, compactions)
    compare("second start, nothing to give back", 5.5)
    for member in members:
        one_life(tools, member, tools.real, 2, lambda m=member: leave_space(m))
    got = compare("third start, space to give back", 2, periodic=False)
    expect(any("finished defragmenting directory" in line for line in got), "nothing was given back")
    if wrong:
        raise Failure(f"{wrong} starts left other lines")


drive(main, __doc__, needs=("oracle-3.6",))
