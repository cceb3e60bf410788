#!/usr/bin/env python3
"""Stock clients that give up (tests/go/interop/impatient.go): short deadlines, renewals around a lease's end, watches
made and cancelled by the thousand, snapshots left early, a thousand streams on a connection, large metadata. The
member lives, no connection is lost, no bystander notices, and the member's memory comes back near where it was."""

import pathlib
import sys
import time

sys.path.insert(0, str(pathlib.Path(__file__).resolve().parent.parent / "lib"))
from members import Member, drive, expect, stream  # noqa: E402

# What a member may keep more after all clients have gone: its allocator's, its log of entries in memory.
KEPT_MB = 120


def resident_mb(member):
    status = pathlib.Path(f"/proc/{member.process.pid}/status").read_text()
    return int(next(line.split()[1] for line in status.splitlines() if line.startswith("VmRSS"))) / 1024


def main(tools, args, folder):
    member = Member(folder / "member").start(tools.ours)
    command = [tools.interop, "impatient", "--endpoint", member.endpoint]
    # Once, so that the keys are there and every pool has its usual size.
    stream([*command, "--each", "500ms"], timeout=120)
    time.sleep(3)
    before = resident_mb(member)
    seconds = 60 if args.long else 3
    stream([*command, "--each", f"{seconds}s"], timeout=12 * seconds + 120)
    deadline = time.monotonic() + 30
    while (after := resident_mb(member)) > before + KEPT_MB and time.monotonic() < deadline:
        time.sleep(1)
    print(f"resident before {before:.0f} MB, after {after:.0f} MB")
    expect(member.process.poll() is None, "the member ended")
    expect(after <= before + KEPT_MB, f"the member keeps {after - before:.0f} MB")
    member.stop()


drive(main, __doc__, needs=("interop",))
