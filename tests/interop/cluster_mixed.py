#!/usr/bin/env python3
"""Clusters of the program under test and real members: one of ours and two of theirs, and two and one, for 3.5, 3.6 and 3.7.
Each part runs under load: every member leads and follows, catches up by the log and by a snapshot under each kind of
leader, joins as a voter and as a learner and is promoted, is removed and stops itself; leases and watches live
through it; compactions; downgrades enabled and cancelled; then random faults. At the end the history is right, HashKV
is equal, and no real member has complained of a message."""

import json
import pathlib
import sys
import time

sys.path.insert(0, str(pathlib.Path(__file__).resolve().parent.parent / "lib"))
import cluster as clusters  # noqa: E402
import faults  # noqa: E402
import network as networks  # noqa: E402
from members import drive, expect  # noqa: E402

# Small, so that a member that was away for a moment needs a snapshot.
OPTIONS = {"snapshot-count": 300, "snapshot-catchup-entries": 150}


def say(text):
    print(f"  {text}", flush=True)


def lead_in_turn(cluster, load, _):
    for node in cluster.nodes:
        cluster.lead(node)
        load.fill(150)
        load.compact()
    cluster.wait_in_sync()
    say(f"each led: {load.stats()}")


def leases(cluster, load, _):
    """One lease through every leader: renewed at one member, seen at the others, never early."""
    lease = cluster.call("grant", TTL=6)["lease"]
    cluster.call("put", key="mixed/lease", value="x", lease=lease)
    for node in cluster.nodes:
        for other in cluster.nodes:
            renewed = time.monotonic()
            kept = cluster.ctl.must("keepalive", other, 5, Lease=lease)
            expect(kept["ttl"] == 6, f"a renewal at {other}: {kept}")
        cluster.lead(node)
        for other in cluster.nodes:
            ttl = cluster.ctl.must("ttl", other, 5, Lease=lease)
            expect(1 <= ttl["ttl"] <= 6 and ttl["keys"] == 1, f"{other} after {node} took the lead: {ttl}")
        say(f"the lease lives under {node}")
    clusters.wait_until(lambda: cluster.call("get", key="mixed/lease")["count"] == 0 or "there", "the lease ends", 30)
    took = time.monotonic() - renewed
    expect(took >= 6, f"the lease of 6 s ended {took:.1f} s after its last renewal was sent")
    expect(cluster.call("ttl", Lease=lease)["ttl"] == -1, "the lease is still there")
    short = cluster.call("grant", TTL=60)["lease"]
    cluster.call("put", key="mixed/revoked", value="x", lease=short)
    for node in cluster.nodes:
        if not node.is_leader():
            cluster.ctl.must("revoke", node, 5, Lease=short)
            break
    expect(cluster.call("get", key="mixed/revoked")["count"] == 0, "a revoked lease leaves its key")


def received(node):
    """Snapshots that a member has received since its start."""
    return sum(v for k, v in node.metrics().items() if k.startswith("etcd_network_snapshot_receive_success"))


# What ours says of a snapshot of the state, as an operator of etcd expects it.
SENT = ("sending merged snapshot", "sending database snapshot", "sent database snapshot to writer", "sent database snapshot",
        "sent merged snapshot")
RECEIVED = ("receiving database snapshot", "saved database snapshot to disk", "received and saved database snapshot", "applied incoming Raft snapshot",
            "applying snapshot", "restored mvcc store", "restored alarm store", "restored auth store", "applied snapshot")


def check_lines(node, since, wanted):
    if node.kind == "quoin":
        said = {line.get("msg") for _, line in node.log_lines(since)}
        expect(said.issuperset(wanted), f"{node} did not log {set(wanted) - said}")


def catch_up(cluster, load, _):
    """A member of each kind is away under a leader of each kind, for a moment and for long."""
    pairs, used, sent = {}, [], {}
    for leader in cluster.nodes:
        for node in cluster.nodes:
            if node is not leader:
                pairs.setdefault((leader.kind, node.kind), []).append((leader, node))
    for choices in pairs.values():
        # A member that has sent a snapshot keeps its whole log for 30 s: rather one that has not sent any.
        leader, node = min(choices, key=lambda c: used.count(c[0]))
        used.append(leader)
        for how in ("log", "snapshot"):
            cluster.lead(leader)
            cluster.wait_in_sync()
            load.pause()
            at = node.status()["index"]
            node.stop()
            marks = leader.log_end(), node.log_end()
            load.run()
            load.fill(60)
            if how == "snapshot":
                time.sleep(max(0, sent.get(leader, 0) + 32 - time.monotonic()))
                load.fill(1200)
                load.compact()
                sent[leader] = time.monotonic() + 5
            load.pause()
            away = leader.status()["index"] - at
            began = time.monotonic()
            node.start(wait=True)
            cluster.wait_in_sync()
            load.run()
            got = received(node)
            say(f"{node} caught up from {leader} by {how}, {away} entries, in {time.monotonic() - began:.2f} s; "
                f"snapshots received: {got:g}")
            expect((got > 0) == (how == "snapshot"), f"{node} received {got:g} snapshots")
            if how == "snapshot":
                check_lines(leader, marks[0], SENT)
                check_lines(node, marks[1], RECEIVED)


def grow_and_shrink(cluster, load, _):
    """A member of each kind joins as a voter and as a learner, which is promoted; each leads; then it is removed."""
    for kind in sorted({n.kind for n in cluster.nodes}):
        for learner in (False, True):
            node = cluster.add(kind, learner=learner)
            load.follow()
            took = cluster.wait_in_sync()
            text = f"{node} joined as {'a learner' if learner else 'a voter'}, in sync after {took:.2f} s"
            if learner:
                put = cluster.ctl.call("put", node, 5, key="mixed/learner", value="x")
                read = cluster.ctl.call("get", node, 5, key="mixed/lease", Serial=True)
                expect(put["code"] == "FailedPrecondition" or put["code"] == "Unavailable", f"a put at a learner: {put}")
                expect(read["code"] == "OK", f"a serializable read at a learner: {read}")
                text += f", promoted after {cluster.promote(node):.2f} s"
            cluster.lead(node)
            load.fill(60)
            cluster.wait_in_sync()
            cluster.check_members()
            others = [n for n in cluster.nodes if n is not node]
            cluster.remove(node)  # the leader itself
            load.follow()
            cluster.wait_leader()
            load.fill(30)
            say(f"{text}, led, and was removed")
            for n in others:
                expect(n.running, f"{n} has ended")


def compaction(cluster, load, _):
    for node in cluster.nodes:
        load.fill(60)
        revision = cluster.call("get", key="any")["revision"]
        cluster.ctl.must("compact", node, 20, Revision=revision - 20, Physical=True)
        for other in cluster.nodes:
            clusters.wait_until(lambda o=other: cluster.ctl.call("get", o, 5, key="any", Revision=revision - 21, Serial=True)["code"]
                                == "OutOfRange" or "old revision still there", f"{other} has compacted")
    load.pause()
    cluster.check_hashes()
    load.run()


# What a leader of 3.6 answers, with the target one minor version below the cluster's. 3.5 and 3.7 differ from it (3.5 times
# out on what it has no storage version for), and are printed only.
DOWNGRADE = [("VALIDATE", -1, "OK", ""), ("VALIDATE", -2, "InvalidArgument", "etcdserver: invalid downgrade target version"),
             ("VALIDATE", None, "InvalidArgument", "etcdserver: wrong downgrade target version format"),
             ("CANCEL", -1, "OK", ""), ("ENABLE", -1, "OK", ""),
             ("ENABLE", -1, "FailedPrecondition", "etcdserver: cluster has a downgrade job in progress"),
             ("CANCEL", -1, "OK", ""), ("CANCEL", -1, "OK", "")]


def downgrade(cluster, load, _):
    """Enabled and cancelled at a leader of each kind: answers as of 3.6, and the cluster as it was."""
    version = cluster_version_of(cluster)
    minor = int(version.split(".")[1])
    led = set()
    for leader in cluster.nodes:
        if leader.kind in led:
            continue
        led.add(leader.kind)
        cluster.lead(leader)
        for action, away, code, message in DOWNGRADE:
            target = "3" if away is None else f"3.{minor + away}.0"
            answer = cluster.ctl.call("downgrade", leader, 10, Action=action, Target=target)
            got = (answer["code"], answer.get("message", ""))
            if got != (code, message):
                say(f"downgrade of {version} led by {leader}, {action} {target}: {got}, 3.6: {(code, message)}")
                expect(leader.kind not in ("quoin", "3.6"), f"{leader}: {action} {target}: {got}")
            time.sleep(0.3)
        load.fill(30)
    clusters.wait_until(lambda: cluster_version_of(cluster) == version or cluster_version_of(cluster),
                        "the cluster version is what it was", 30)


def cluster_version_of(cluster):
    return json.loads(cluster.nodes[0].get("/version")[1])["etcdcluster"]


def random_faults(cluster, load, args):
    seconds = args.seconds or (600 if args.long else 25)
    # Members of 3.6 and ours change into each other on their directories, too. Others can't go back everywhere.
    kinds = sorted({n.kind for n in cluster.nodes})
    swaps = kinds if set(kinds) <= {"quoin", "3.6"} and len(kinds) > 1 or args.swaps else None
    counts = faults.Faults(cluster, load, args.seed, swaps).run(seconds)
    say(f"faults for {seconds:g} s: {counts}; {load.stats()}")


PARTS = {f.__name__: f for f in (lead_in_turn, leases, catch_up, grow_and_shrink, compaction, downgrade, random_faults)}


def main(tools, args, folder):
    args.seed = clusters.seed_of(args)
    mixes = [args.members.split(",")] if args.members else [
        [args.ours] * n + [v] * (3 - n) for v in args.versions.split(",") for n in (1, 2)]
    for i, kinds in enumerate(mixes):
        print(f"cluster of {', '.join(kinds)}", flush=True)
        # Links that can be cut are for the faults.
        cluster = clusters.Cluster(tools, folder / str(i), kinds, networks.make(args.network, tools), OPTIONS).found()
        load = clusters.Load(cluster, args.seed + i).run()
        for name in args.only or PARTS:
            began = time.monotonic()
            PARTS[name](cluster, load, args)
            checked, hashed = cluster.check_end(load)
            print(f"{name}: {time.monotonic() - began:.1f} s; {checked}; hash {hashed}", flush=True)
            load.run()
        load.close()
        cluster.stop()
        for n in cluster.nodes:
            tools.check_file(n.database)
        cluster.close()


def arguments(parser):
    parser.add_argument("--members", help="one cluster of these kinds instead of all mixes")
    parser.add_argument("--ours", default="quoin", choices=clusters.KINDS)
    parser.add_argument("--versions", default="3.5,3.6,3.7")
    parser.add_argument("--only", action="append", choices=list(PARTS))
    parser.add_argument("--seconds", type=float, help="of random faults (25; long: 600), for each cluster")
    parser.add_argument("--swaps", action="store_true", help="members change their kind among the random faults")
    parser.add_argument("--seed", type=int, default=0)
    networks.add_argument(parser, "proxies")


networks.prepare("proxies")
drive(main, __doc__, arguments, needs=("interop", "oracle-3.6", "etcd-3.5", "etcd-3.7"))
