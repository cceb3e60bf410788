"""Watches across a snapshot, stops and moves of the leader, hashes of compactions."""

import time

from case import case, clusters, networks


def summary(got, start, last):
    """What a watch was told, without numbers that vary: every revision from `start` on, or where the hole is."""
    revisions = got["revisions"]
    if revisions != sorted(set(revisions)):
        return "out of order, or something twice"
    if got["progress"] != sorted(got["progress"]):
        return "progress goes back"
    if revisions and revisions[0] < start:
        return f"a revision below its start: {revisions[0]} < {start}"
    if got["end"]:
        whole = revisions == list(range(start, start + len(revisions)))
        return f"{'without a gap, then ' if whole else 'with a gap, then '}{got['end']}, {'compacted' if got['compacted'] else ''}"
    wanted = list(range(start, last + 1))
    return "every revision" if revisions == wanted else f"a gap: {len(revisions)} of {len(wanted)} revisions"


@case
def watches_across_a_snapshot(t):
    """A follower is cut off for 1,000 revisions, with a compaction, and catches up by a snapshot. Its watches have every
    revision or are cancelled; those of the future begin at their start; leases and alarms are there."""
    c = t.cluster(3, options={"snapshot-count": 50, "snapshot-catchup-entries": 10}, network=networks.Proxies(t.tools))
    leader = c.wait_leader()
    f = next(n for n in c.nodes if n is not leader)
    lease = c.ctl.must("grant", leader, TTL=600)["lease"]
    c.ctl.must("put", leader, Key="w/leased", Value="x", Lease=lease)
    now = c.ctl.must("puts", leader, 30, Key="w", Count=40, Size=10)["revision"]
    c.wait_in_sync()
    for compact in (False, True):
        names = {"current": now + 1, "from revision 2": 2 if not compact else now - 5, "from the future": now + 500}
        for name, start in names.items():
            c.ctl.must("watching", f, Key="w/", End="w0", Revision=0 if name == "current" else start, Value=f"{name} {compact}")
        if compact:
            time.sleep(31)  # whoever has sent a snapshot keeps its whole log for 30 s, and needs no other one
        c.network.isolate(f, c.nodes)
        time.sleep(0.3)
        leader = clusters.wait_until(lambda: any(n.is_leader() for n in c.nodes if n is not f) or "nobody", "a leader") and \
            next(n for n in c.nodes if n is not f and n.is_leader())
        last = c.ctl.must("puts", leader, 100, Key="w", Count=990, Size=10)["revision"]
        for i in range(10):
            last = c.ctl.must("delete", leader, Key=f"w/{i}")["revision"]
        if compact:
            c.ctl.must("compact", leader, Revision=last - 400, Physical=True)
        c.network.heal_all()
        c.wait_in_sync()
        time.sleep(1)
        t.note(f"compacted {compact}: snapshots received", sum(v for k, v in f.metrics().items()
                                                             if k.startswith("etcd_network_snapshot_receive_success")) > 0)
        last = c.ctl.must("put", leader, Key="w/end", Value="x")["revision"]
        for name, start in names.items():
            def done(name=name, start=start):
                got = c.ctl.must("watched", f, Value=f"{name} {compact}")
                return True if got["end"] or last in got["revisions"] else f"{len(got['revisions'])} revisions"
            clusters.wait_until(done, f"the watch {name} goes on", 30)
            t.note(f"compacted {compact}: watch {name}", summary(c.ctl.must("watched", f, Value=f"{name} {compact}"), start, last))
        now = last
    t.call("the lease's time to live there", c, "ttl", f, Lease=lease)
    t.note("keys of the lease there", c.ctl.must("ttl", f, Lease=lease)["keys"])
    c.check_hashes()
    c.check_logs()


@case
def stop_of_the_leader(t):
    """SIGTERM to the leader: with all there, with one follower down, with both down, and alone."""
    for missing, n in ((0, 3), (1, 3), (2, 3), (0, 1)):
        label = f"{missing} of {n} down" if n > 1 else "a single member"
        c = t.cluster(n)
        leader = c.wait_leader()
        term = leader.status()["term"]
        for follower in [x for x in c.nodes if x is not leader][:missing]:
            follower.kill()
        began = time.monotonic()
        leader.process.terminate()
        t.note(f"{label}: exit", leader.wait_exit(30))
        took = time.monotonic() - began
        t.note(f"{label}: took", "less than 3 s" if took < 3 else "the request timeout, less than 14 s" if took < 14 else f"{took:.0f} s")
        t.logged(f"{label}: it says", leader, "leadership transfer starting", "leadership transfer finished",
                 "skipped leadership transfer for single voting member cluster", "skipped leadership transfer; local server is not leader",
                 "leadership transfer failed")
        if n - missing > 2:
            t.note(f"{label}: terms", c.wait_leader().status()["term"] - term)


@case
def move_leader(t):
    """MoveLeader on a follower, to itself, to an unknown member, to a stopped member, to a follower."""
    c = t.cluster(3)
    for n in c.nodes:
        n.status()
    leader = c.wait_leader()
    one, two = [n for n in c.nodes if n is not leader]
    t.call("at a follower", c, "move", one, ID=two.id)
    t.call("to itself", c, "move", leader, ID=leader.id)
    t.call("to an unknown member", c, "move", leader, ID="123")
    two.kill()
    time.sleep(1)
    t.call("to a stopped member", c, "move", leader, 15, ID=two.id)
    two.start(wait=True)
    c.wait_in_sync()
    leader = c.wait_leader()
    term = leader.status()["term"]
    t.call("to a follower", c, "move", leader, ID=next(n for n in c.nodes if n is not leader).id)
    t.note("terms", c.wait_leader(other_than=leader).status()["term"] - term)
    t.call("hasleader: a watch", c, "watch", leader, 5, Key="k", Action="create", Leader=True)
    followers = c.followers()
    for n in [x for x in c.nodes if x is not followers[0]]:
        n.kill()
    time.sleep(4)
    t.call("without a leader: a watch that asks for one", c, "watch", followers[0], 5, Key="k", Action="create", Leader=True)
    t.call("without a leader: a renewal that asks for one", c, "keepalive", followers[0], 12, Lease=1, Leader=True)
    t.call("without a leader: a serializable read", c, "get", followers[0], 5, Key="k", Serial=True)
    t.call("without a leader: health", c, "health", followers[0], 5)


@case
def compaction_hashes(t):
    """Members compare the hashes of their compactions while one of them is killed within compactions: no alarm. Then a value is
    changed in one database: its member gets the alarm, and only it."""
    c = t.cluster(3, options={"feature-gates": "CompactHashCheck=true", "compact-hash-check-time": "1s", "corrupt-check-time": "1s",
                              "snapshot-count": 5000})
    victim = c.nodes[0]
    rounds = 100 if t.long else 6
    for i in range(rounds):
        if i % 2:
            c.lead(victim)
        else:
            c.lead(c.nodes[1])
        leader = c.wait_leader()
        c.ctl.must("puts", leader, 60, Key="h", Count=1000, Size=100)
        revision = c.ctl.must("delete", leader, Key="h/1", End="h/3")["revision"]
        c.ctl.must("compact", leader, Revision=revision - 50)
        time.sleep(0.002 * (i % 5))
        victim.kill()
        victim.start(wait=True)
        c.wait_in_sync()
    time.sleep(3)
    t.note("alarms after kills within compactions", c.call("alarm", Action="GET")["alarms"])
    clusters.wait_until(lambda: any(n.log_has("finished compaction hash check") for n in c.nodes) or "nobody says so",
                        "a check of compaction hashes has finished", 30)
    c.lead(c.nodes[1])
    c.ctl.must("puts", c.nodes[1], 60, Key="h", Count=10, Size=100)
    c.wait_in_sync()
    victim.stop()
    clusters.run([t.tools.oracle, "bbolt-spoil", victim.database])
    victim.start()
    victim.wait_ready()
    name = {n.status()["member"]: n.name for n in c.nodes}

    def raised():
        alarms = c.call("alarm", Action="GET")["alarms"]
        return True if alarms else "no alarm"
    clusters.wait_until(raised, "the alarm", 40)
    t.note("alarms after a value was changed in m1", sorted(f"{name.get(a['member'], a['member'])} {a['alarm']}"
                                                         for a in c.call("alarm", Action="GET")["alarms"]))
    t.call("a put under the alarm", c, "put", c.nodes[1], Key="x", Value="x")
    t.call("a read under the alarm", c, "get", c.nodes[1], Key="h/5")
