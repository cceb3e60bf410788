#!/usr/bin/env python3
"""Locks and elections. First the same calls to the Lock and Election services of the program under test and of a real
etcd 3.6, each answer compared (tests/go/interop/locks.go). Then contenders for one lock over three members, who use these
services or the Go client's own mutexes and elections on the same keys, while the leader and some of them are killed:
never two holders, the order of creation kept, nobody waits for a dead lease (tests/go/interop/contenders.go)."""

import pathlib
import random
import sys
import time

sys.path.insert(0, str(pathlib.Path(__file__).resolve().parent.parent / "lib"))
import cluster as clusters  # noqa: E402
from members import Conversation, Member, drive, expect, run  # noqa: E402


def calls(tools, args, folder):
    ours = Member(folder / "ours", constant_identity=True).start(tools.ours, wait=False)
    real = Member(folder / "real", constant_identity=True).start(tools.real, wait=False)
    ours.wait_ready()
    real.wait_ready()
    done = run([tools.interop, "locks", "--ours", ours.endpoint, "--real", real.endpoint, *(["--verbose"] if args.verbose else [])], timeout=120)
    print(done.stdout.strip(), flush=True)
    ours.stop()
    real.stop()


def contenders(tools, args, folder):
    seed = clusters.seed_of(args)
    draw = random.Random(seed)
    rounds = args.rounds or (20 if args.long else 3)
    count = args.contenders or (200 if args.long else 40)
    cluster = clusters.Cluster(tools, folder / "cluster", clusters.kinds_of(args)).found()
    cluster.wait_leader()
    contest = Conversation([tools.interop, "contenders", "--endpoints", ",".join(cluster.endpoints), "--contenders", count,
                            "--seed", seed, "--ttl", 3 if count <= 50 else 10])
    expect(contest.child.stdout.readline().startswith("ok"), "the contenders did not start")

    def turns():
        return int(contest.ask("turns")[0])

    def go_on(more):
        """Until the lock was had so many times more."""
        before = turns()

        def had():
            now = turns()
            return now >= before + more or f"{now - before} turns; {' '.join(contest.ask('front'))}"
        took = clusters.wait_until(had, f"{more} turns", 60, every=0.2)
        return more / took

    go_on(count)
    for i in range(rounds):
        leader = cluster.wait_leader()
        leader.kill()
        dead = contest.ask(f"kill {draw.randrange(1, max(2, count // 10))}")[0]
        rate = go_on(min(count // 2, 15 if not args.long else count))
        print(f"kill {i + 1}: {leader} led, and {dead} contenders; then {rate:.0f} turns a second", flush=True)
        leader.start(wait=True)
        cluster.wait_in_sync()
        if args.long:
            contest.ask(f"kill {draw.randrange(1, count // 5)}")
            go_on(count)
    time.sleep(0.5)
    print("checked:", " ".join(contest.ask("finish", 120)), flush=True)
    contest.close()
    cluster.stop()
    cluster.close()


def main(tools, args, folder):
    if args.part in (None, "calls"):
        calls(tools, args, folder)
    if args.part in (None, "contenders"):
        contenders(tools, args, folder)


def arguments(parser):
    clusters.add_arguments(parser, network="plain")
    parser.add_argument("--part", choices=["calls", "contenders"], help="only one of the two")
    parser.add_argument("--verbose", action="store_true", help="print what the calls tell")
    parser.add_argument("--rounds", type=int, help="kills of the leader (3; long: 20)")
    parser.add_argument("--contenders", type=int, help="at the same time (40; long: 200)")


drive(main, __doc__, arguments, needs=("interop", "oracle-3.6"))
