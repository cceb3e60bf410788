"""Learners, and members added and removed while others are down."""

import time

from case import case, clusters


def votes_of(node):
    return node.status()["learner"]


@case
def learner_promotion(t):
    """A promotion reaches every copy of the membership: what restarts, later snapshots and a real 3.6 on the directory see."""
    c = t.settled_cluster(1, options={"snapshot-count": 5, "snapshot-catchup-entries": 5})

    def puts():
        c.ctl.must("puts", c.wait_leader(), 30, Key="k", Count=30, Size=10)

    def handed_over(label):
        # A real member on each directory, then whoever it was.
        for n in list(c.nodes):
            kind = n.kind
            n.stop()
            n.start("3.6", wait=True)
            t.list(f"{label}, {n.name} as 3.6", c, n)
            n.stop()
            n.start(kind, wait=True)
        c.wait_in_sync()

    for i in range(2):
        node = c.add(t.kinds[(i + 1) % len(t.kinds)], learner=True)
        t.lists(f"learner {i + 1} added", c)
        puts()
        c.wait_in_sync()
        c.promote(node)
        t.lists(f"learner {i + 1} promoted", c)
        puts()
        for n in list(c.nodes):
            n.restart(wait=True)
            t.list(f"{n.name} restarted", c, n)
        c.wait_in_sync()
        time.sleep(5.5)
    handed_over("two promoted")
    time.sleep(5.5)
    last = c.add(t.subject, learner=True)
    puts()
    c.wait_in_sync()
    t.note("the new one is a learner", votes_of(last))
    c.promote(last)
    t.lists("the third promoted", c)
    time.sleep(5.5)
    c.remove(last)
    t.lists("the third removed", c)
    again = c.add(t.subject)
    puts()
    again.restart(wait=True)
    t.lists("added again as a voter, and restarted", c)
    c.wait_in_sync()
    handed_over("at the end")
    c.check_hashes()


@case
def learner_answers(t):
    """What a learner answers to each call, when it can be promoted, and that it votes then."""
    c = t.settled_cluster(3, options={"snapshot-count": 1000, "max-learners": 1})
    leader = c.wait_leader()
    follower = next(n for n in c.nodes if n is not leader)
    c.ctl.must("puts", leader, 100, Key="k", Count=10000 if t.long else 3000, Size=20)
    unstarted = c.add(t.subject, learner=True, start=False)
    t.call("promote one that has not started", c, "promote", leader, ID=unstarted.id)
    t.call("the same at a follower", c, "promote", follower, ID=unstarted.id)
    unstarted.start(wait=True)
    learner = unstarted
    c.wait_in_sync()
    lease = c.ctl.must("grant", leader, TTL=100)["lease"]
    for label, do, fields in (
            ("Status", "status", {}), ("Range serializable", "get", {"Key": "k/1", "Serial": True}),
            ("Range linearizable", "get", {"Key": "k/1"}), ("Put", "put", {"Key": "x", "Value": "x"}),
            ("DeleteRange", "delete", {"Key": "x"}), ("Txn of serializable reads", "txnget", {"Key": "k/1", "Serial": True}),
            ("Txn of reads", "txnget", {"Key": "k/1"}), ("Compact", "compact", {"Revision": 5}),
            ("MemberList", "members", {}), ("MemberList serializable", "members", {"Serial": True}),
            ("MemberAdd", "add", {"URLs": ["http://127.0.0.1:1"]}), ("MemberRemove", "remove", {"ID": "1"}),
            ("Watch", "watch", {"Key": "k/1", "Revision": 2}), ("LeaseGrant", "grant", {"TTL": 5}),
            ("LeaseKeepAlive", "keepalive", {"Lease": lease}), ("LeaseTimeToLive", "ttl", {"Lease": lease}),
            ("LeaseLeases", "leases", {}), ("LeaseRevoke", "revoke", {"Lease": 1}), ("Snapshot", "snapshot", {}), ("HashKV", "hashkv", {}),
            ("Alarm GET", "alarm", {"Action": "GET"}), ("Defragment", "defrag", {}), ("MoveLeader", "move", {"ID": leader.id or "1"}),
            ("Downgrade validate", "downgrade", {"Action": "VALIDATE", "Target": "3.5.0"}), ("gRPC health", "health", {})):
        t.call(f"learner, {label}", c, do, learner, 5, **fields)
    for path in ("/health", "/health?serializable=true", "/livez", "/readyz", "/readyz?verbose"):
        code, body = learner.get(path)
        lines = [line for line in body.splitlines() if "learner" in line or "linearizable" in line]
        t.note(f"learner, {path}", f"{code} {lines if 'verbose' in path else ''}")
    t.call("MoveLeader to the learner", c, "move", leader, ID=learner.id)
    t.call("a second learner, at most one", c, "add", leader, URLs=["http://127.0.0.1:3"], Learner=True)
    t.call("promote an unknown member", c, "promote", leader, ID="123")
    t.call("promote an unknown member at a follower", c, "promote", follower, ID="123")
    t.call("promote a voter", c, "promote", leader, ID=follower.id or follower.status()["member"])
    t.call("promote a voter at a follower", c, "promote", follower, ID=follower.status()["member"])
    t.call("promote at the follower", c, "promote", follower, ID=learner.id)
    t.lists("after it", c)
    t.call("promote again", c, "promote", leader, ID=learner.id)
    t.call("Put at the one promoted", c, "put", learner, Key="x", Value="x")
    # With the leader gone, three of four are there: nobody leads without the vote of the one promoted.
    c.wait_leader().kill()
    c.wait_leader()
    c.call("put", key="after", value="x")
    t.note("writes without the old leader", "OK")


@case
def two_learners(t):
    """--max-learners 2 allows a second and refuses a third."""
    c = t.settled_cluster(3, options={"max-learners": 2})
    leader = c.wait_leader()
    for i in range(3):
        t.call(f"learner {i + 1}", c, "add", leader, URLs=[f"http://127.0.0.1:{i + 1}"], Learner=True)
    t.lists("at the end", c)


def down(c, node, seconds=10):
    node.kill()
    time.sleep(seconds)
    return c.wait_leader()


@case
def add_with_one_of_three_down(t):
    """3 members, one down for 10 s: a voter and a learner are refused; without the strict check they are taken."""
    for strict in ("true", "false"):
        c = t.settled_cluster(3, options={"strict-reconfig-check": strict})
        leader = down(c, c.followers()[0])
        t.call(f"strict {strict}: a learner", c, "add", leader, URLs=["http://127.0.0.1:1"], Learner=True)
        t.call(f"strict {strict}: a voter", c, "add", leader, URLs=["http://127.0.0.1:2"])
        t.list(f"strict {strict}: then", c, leader)


@case
def add_with_one_of_four_down(t):
    """4 members, one down: a fifth is taken."""
    c = t.settled_cluster(4)
    leader = down(c, c.followers()[0])
    t.call("a fifth", c, "add", leader, URLs=["http://127.0.0.1:1"])


@case
def second_member_never_started(t):
    """1 member gains a second that does not start: no majority, neither for a put nor for its removal."""
    c = t.settled_cluster(1)
    only = c.nodes[0]
    added = t.call("add", c, "add", only, URLs=["http://127.0.0.1:1"])
    t.call("put", c, "put", only, 12, Key="a", Value="x")
    t.call("remove", c, "remove", only, 25, ID=added["id"])
    t.call("serializable get", c, "get", only, Key="a", Serial=True)


@case
def remove_the_dead_one_of_two(t):
    """2 members, one down: its removal has no majority."""
    c = t.settled_cluster(2)
    follower = c.followers()[0]
    follower.status()
    leader = c.wait_leader()
    follower.kill()
    t.call("remove the dead one", c, "remove", leader, 12, ID=follower.id)


@case
def three_never_started(t):
    """3 members gain three that do not start: the third is refused; without the strict check it is taken."""
    for strict in ("true", "false"):
        c = t.settled_cluster(3, options={"strict-reconfig-check": strict})
        leader = c.wait_leader()
        for i in range(3):
            t.call(f"strict {strict}: add {i + 1}", c, "add", leader, 12, URLs=[f"http://127.0.0.1:{i + 1}"])
        t.list(f"strict {strict}: then", c, leader)


@case
def remove_with_one_of_three_down(t):
    """3 members, one down: a live one may not be removed, the dead one may."""
    t.names = False
    c = t.settled_cluster(3)
    for n in c.nodes:
        n.status()
    dead, live = c.followers()[:2]
    leader = down(c, dead)
    live = next(n for n in c.live if n is not leader)
    t.call("remove the live one", c, "remove", leader, ID=live.id)
    t.call("remove the dead one", c, "remove", leader, ID=dead.id)
    t.call("remove it again", c, "remove", leader, ID=dead.id)
    t.call("remove an unknown one", c, "remove", leader, ID="123")
    t.call("update one that was removed", c, "update", leader, ID=dead.id, URLs=["http://127.0.0.1:1"])
    t.call("promote one that was removed", c, "promote", leader, ID=dead.id)
    t.lists("then", c)
    dead.start()
    t.ended("the removed one, started again", dead, how=False)
    t.logged("it says", dead, "removed")


@case
def change_right_after_the_start(t):
    """Within 5 s of the start, members do not count as connected for long enough."""
    c = t.cluster(3)
    t.call("a voter", c, "add", c.wait_leader(), URLs=["http://127.0.0.1:1"])
    t.call("a learner", c, "add", c.wait_leader(), URLs=["http://127.0.0.1:1"], Learner=True)


@case
def removal_of_the_leader(t):
    """The leader is removed, by itself: the call is answered, it ends with 0, the others go on."""
    t.names = False
    c = t.settled_cluster(3)
    leader = c.wait_leader()
    leader.status()
    a = c.ctl.call("remove", leader, ID=leader.id)
    # A real leader stops while it answers: whether the answer gets out is chance.
    t.note("remove", "answered" if a["code"] == "OK" or a["message"] == "etcdserver: server stopped" else a)
    t.ended("it", leader)
    c.nodes.remove(leader)
    c.wait_leader()
    c.call("put", key="a", value="x")
    t.lists("then", c)
    clusters.wait_until(lambda: leader.log_has("removed") or "nothing", "it says that it was removed", 5)
