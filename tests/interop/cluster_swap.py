#!/usr/bin/env python3
"""A cluster under traffic changes its program one member at a time, on the same directories: real etcd 3.6, then the
program under test, then 3.6 again. No request of a client that retries fails, and nothing acknowledged is lost.
--from and --to name other kinds."""

import pathlib
import sys

sys.path.insert(0, str(pathlib.Path(__file__).resolve().parent.parent / "lib"))
import cluster as clusters  # noqa: E402
import network as networks  # noqa: E402
from members import Failure, drive, expect  # noqa: E402


def swap(cluster, load, kind, how, i):
    # Followers first, the leader last, as runbooks say.
    leader = cluster.wait_leader()
    for node in [n for n in cluster.nodes if n is not leader] + [leader]:
        load.fill(100)
        load.compact()
        old = str(node)
        cluster.check_logs()  # with the kind that it was
        if how == "kill":
            node.kill()
        else:
            node.stop()
        node.start(kind)
        node.wait_ready()
        cluster.wait_in_sync()
        stats = load.stats()
        print(f"{old} is {kind} now, {'SIGKILL' if how == 'kill' else 'SIGTERM'}; {stats}", flush=True)
        expect(stats["lost"] == 0, f"{stats['lost']} requests failed though their clients retried")
        if node.is_leader() or cluster.leader() is None:
            raise Failure(f"{node} leads right after its start, or nobody does")


def main(tools, args, folder):
    seed = clusters.seed_of(args)
    cluster = clusters.Cluster(tools, folder, [args.start] * args.count, networks.make(args.network, tools),
                               {"snapshot-count": 500}).found()
    load = clusters.Load(cluster, seed).run()
    for i in range(args.rounds or (5 if args.long else 1)):
        for kind in (args.to, args.start):
            swap(cluster, load, kind, "kill" if i % 2 else "stop", i)
            # Each of the new members leads for a while.
            for node in cluster.nodes:
                cluster.lead(node)
                load.fill(100)
            print(f"all are {kind}: {cluster.check_end(load)}", flush=True)
            load.run()
    load.close()
    cluster.stop()
    for n in cluster.nodes:
        tools.check_file(n.database)
    cluster.close()


def arguments(parser):
    parser.add_argument("--from", dest="start", default="3.6", choices=clusters.KINDS)
    parser.add_argument("--to", default="quoin", choices=clusters.KINDS)
    parser.add_argument("--count", type=int, default=3, help="members")
    parser.add_argument("--rounds", type=int, help="there and back (1; long: 5); every second by SIGKILL")
    parser.add_argument("--seed", type=int, default=0)
    networks.add_argument(parser, "plain")


drive(main, __doc__, arguments, needs=("interop", "oracle-3.6"))
