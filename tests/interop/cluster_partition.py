#!/usr/bin/env python3
"""Links between members are cut while clients write at all of them: a leader in the minority, links that work in one
direction, links that come and go, slow links. Never do two leaders acknowledge writes; a read that is not serializable
is never stale; a serializable one is answered by whoever is cut off. When the links are whole again, all is as it
must be at an end."""

import pathlib
import random
import sys
import time

sys.path.insert(0, str(pathlib.Path(__file__).resolve().parent.parent / "lib"))
import cluster as clusters  # noqa: E402
import network as networks  # noqa: E402
from members import Failure, drive, expect  # noqa: E402


def others(cluster, node):
    return [n for n in cluster.nodes if n is not node]


def wait_led_by_another(cluster, old, seconds=30):
    """Until a member other than `old` leads; `old` may go on to think that it does for an election timeout."""
    found = []

    def led():
        for n in others(cluster, old):
            if n.running and n.is_leader():
                found[:] = [n]
                return True
        return "nobody"
    took = clusters.wait_until(led, f"another than {old} leads", seconds)
    return found[0], took


def minority_leader(cluster, load, rnd, hold):
    """The leader is cut off from both: the others choose a new one; the old one refuses writes and linearizable reads,
    and answers serializable reads with what it had."""
    old = cluster.wait_leader()
    cluster.ctl.must("put", old, key="p/key", value="before")
    before = cluster.ctl.must("get", old, key="p/key", Serial=True)["revision"]
    cluster.wait_in_sync()
    load.mark()
    cluster.network.isolate(old, cluster.nodes)
    new, took = wait_led_by_another(cluster, old)
    clusters.wait_until(lambda: cluster.ctl.call("put", new, 3, key="p/key", value="after")["code"] == "OK" or "refused",
                        "the majority writes", 20)
    write = cluster.ctl.call("put", old, 3, key="p/minority", value="x")
    read = cluster.ctl.call("get", old, 3, key="p/key")
    stale = cluster.ctl.call("get", old, 3, key="p/key", Serial=True)
    expect(write["code"] != "OK", f"{old}, cut off, acknowledged a write: {write}")
    expect(read["code"] != "OK", f"{old}, cut off, answered a linearizable read: {read}")
    expect(stale["code"] == "OK" and stale["kvs"][0]["value"] == "before" and stale["revision"] >= before,
           f"a serializable read of {old}: {stale}")
    time.sleep(hold)
    longest, _ = load.outage()
    no_leader = old.status()
    expect(no_leader["code"] != "OK" or no_leader["leader"] == "0", f"{old} still thinks that it has a leader: {no_leader}")
    cluster.network.heal_all()
    took_sync = cluster.wait_in_sync()
    again = cluster.ctl.must("get", old, key="p/key")
    expect(again["kvs"][0]["value"] == "after", f"{old} after the cut: {again}")
    lost = cluster.call("get", key="p/minority")
    print(f"minority leader {old}: {new} led after {took:.2f} s; {longest:.2f} s without a write; answers there: "
          f"write {write['code']}, read {read['code']}; in sync {took_sync:.2f} s after; the write that was refused is "
          f"{'there' if lost['count'] else 'not there'}", flush=True)


def one_way(cluster, load, rnd, hold):
    """A link works in one direction only: the cluster goes on, whoever leads, and terms do not run away (pre-vote)."""
    for kind in ("leader deaf", "leader mute", "follower deaf", "follower mute", "half"):
        leader = cluster.wait_leader()
        follower = rnd.choice(others(cluster, leader))
        third = next(n for n in others(cluster, leader) if n is not follower)
        term = leader.status()["term"]
        net = cluster.network
        load.mark()
        if kind == "leader deaf":
            net.cut(follower, leader)
            net.cut(third, leader)
        elif kind == "leader mute":
            net.cut(leader, follower)
            net.cut(leader, third)
        elif kind == "follower deaf":
            net.cut(leader, follower)
        elif kind == "follower mute":
            net.cut(follower, leader)
            net.cut(follower, third)
        else:
            net.cut(leader, follower)
            net.cut(follower, third)
        time.sleep(hold)
        longest, _ = load.outage()
        net.heal_all()
        cluster.wait_in_sync()
        after = cluster.wait_leader()
        terms = after.status()["term"] - term
        print(f"one way, {kind}: {longest:.2f} s without a write; leader {leader} then {after}; {terms} terms", flush=True)
        # One election for a leader that is cut off, and some that end without a majority.
        expect(terms <= 6, f"{terms} terms passed")


def flapping(cluster, load, rnd, hold):
    """Links come and go, each by itself."""
    until = time.monotonic() + 3 * hold
    cuts = 0
    load.mark()
    while time.monotonic() < until:
        a, b = rnd.sample(cluster.nodes, 2)
        if (a, b) in cluster.network.broken:
            cluster.network.heal(a, b)
        else:
            cluster.network.cut(a, b)
            cuts += 1
        time.sleep(rnd.uniform(0, 0.6))
    cluster.network.heal_all()
    longest, _ = load.outage()
    cluster.wait_in_sync()
    print(f"flapping: {cuts} cuts; {longest:.2f} s without a write", flush=True)


def all_cut(cluster, load, rnd, hold):
    """Nobody reaches anybody: nothing is acknowledged, and all comes back."""
    for n in cluster.nodes:
        cluster.network.isolate(n, cluster.nodes)
    time.sleep(2 * cluster.election + 0.2)
    for n in cluster.nodes:
        write = cluster.ctl.call("put", n, 1, key="p/all", value="x")
        read = cluster.ctl.call("get", n, 1, key="p/key")
        expect(write["code"] != "OK" and read["code"] != "OK", f"{n}, alone: {write} {read}")
    load.mark()
    cluster.network.heal_all()
    longest, _ = load.outage()
    cluster.wait_in_sync()
    print(f"all cut: writes again after {longest:.2f} s", flush=True)


def slow_links(cluster, load, rnd, hold):
    if not cluster.network.can_delay:
        print("slow links: SKIPPED, network namespaces here can't delay (use --network proxies)", flush=True)
        return
    leader = cluster.wait_leader()
    term = leader.status()["term"]
    for a in cluster.nodes:
        for b in others(cluster, a):
            cluster.network.delay(a, b, 50)
    time.sleep(1)
    load.mark()
    time.sleep(hold)
    longest, usual = load.outage()
    expect(cluster.wait_leader().status()["term"] == term, "links of 50 ms cost an election")
    for a in cluster.nodes:
        for b in others(cluster, a):
            cluster.network.delay(a, b, 0)
    print(f"slow links (50 ms): a write takes {usual * 1000:.0f} ms in the median, {longest:.2f} s without one", flush=True)
    expect(usual >= 0.05, "the delay does not delay")


def blind(cluster, load, rnd, hold):
    """A follower is cut off until the others have compacted their logs: it catches up by a snapshot."""
    leader = cluster.wait_leader()
    node = rnd.choice(others(cluster, leader))
    cluster.network.isolate(node, cluster.nodes)
    load.fill(600)
    cluster.network.heal_all()
    took = cluster.wait_in_sync()
    print(f"blind follower {node}: in sync {took:.2f} s after 600 writes without it", flush=True)


PARTS = {f.__name__: f for f in (minority_leader, one_way, flapping, all_cut, slow_links, blind)}


def main(tools, args, folder):
    seed = clusters.seed_of(args)
    rnd = random.Random(seed)
    net = networks.make(args.network, tools)
    if not net.can_cut:
        raise Failure("--network plain can't cut links")
    print(f"links: {net.name}")
    cluster = clusters.Cluster(tools, folder, clusters.kinds_of(args), net,
                               {"snapshot-count": 200, "snapshot-catchup-entries": 100}).found()
    load = clusters.Load(cluster, seed, attempt="700ms", leases=0 if args.no_leases else 2).run()
    hold = args.hold or (10 if args.long else 3)
    for i in range(args.rounds or (20 if args.long else 1)):
        for name in args.only or PARTS:
            PARTS[name](cluster, load, rnd, hold)
        print(f"round {i + 1}: {load.stats()}", flush=True)
        print(f"checked: {cluster.check_end(load)}", flush=True)
        load.run()
    load.pause()
    cluster.stop()
    cluster.close()


def arguments(parser):
    clusters.add_arguments(parser)
    parser.add_argument("--only", action="append", choices=list(PARTS))
    parser.add_argument("--rounds", type=int, help="(1; long: 20)")
    parser.add_argument("--hold", type=float, help="seconds that a cut lasts (3; long: 10)")
    parser.add_argument("--no-leases", action="store_true")


networks.prepare()
drive(main, __doc__, arguments, needs=("interop", "oracle-3.6"))
