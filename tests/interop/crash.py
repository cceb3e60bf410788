#!/usr/bin/env python3
"""kill -9 at random moments under concurrent writers. After each restart no acknowledged write is lost, none is
there by half, and revisions have not gone back (tests/go/interop/journal.go)."""

import pathlib
import random
import sys
import time

sys.path.insert(0, str(pathlib.Path(__file__).resolve().parent.parent / "lib"))
from members import Conversation, Member, drive, seed_of  # noqa: E402


def main(tools, args, folder):
    seed = seed_of(args)
    rnd = random.Random(seed)
    # Small intervals, so that snapshots and WAL cuts are among what a kill interrupts.
    member = Member(folder / "member", ["--snapshot-count", "500"]).start(tools.ours)
    journal = Conversation([tools.interop, "journal", "--endpoint", member.endpoint, "--seed", seed])
    for i in range(30 if args.long else 5):
        journal.ask("run")
        journal.ask(f"fill {rnd.randrange(1, 400)}")
        if rnd.random() < 0.5:
            journal.ask("compact")
        time.sleep(rnd.uniform(0, 0.15))
        member.kill()
        if rnd.random() < 0.3:
            # And once more in the middle of starting again.
            member.start(tools.ours, wait=False)
            time.sleep(rnd.uniform(0, 0.4))
            member.kill()
        tools.check_file(member.database)
        member.start(tools.ours)
        journal.ask("pause")
        revision, keys, acknowledged = journal.ask("check")
        print(f"kill {i + 1}: revision {revision}, {keys} keys, {acknowledged} writes acknowledged", flush=True)
    journal.close()
    member.stop()
    tools.check_file(member.database)


drive(main, __doc__, lambda p: p.add_argument("--seed", type=int), needs=("interop", "oracle-3.6"))
