"""Checks for corruption among members: one value is another in one member's database, at the same revision. The flags are
those of 3.5, which 3.6 takes too. m1 is the member that is altered; m2 leads, or m1 does."""

import json
import re
import time

from case import case, clusters, expect

GOOD, BAD = b"value-before-it-was-altered", b"value-behind-the-alteration"
INTERVAL = 2  # seconds between two checks of a leader
# How long nothing may happen before it counts as never: several checks, on a busy machine too.
QUIET = 4 * INTERVAL
WAIT = 60

INITIAL = ["--experimental-initial-corrupt-check"]
PERIODIC = [f"--experimental-corrupt-check-time={INTERVAL}s"]
# What a start that ends says.
END = ("found different", "checkInitialHashKV failed", "bootstrap failed", "discovery failed", "closing etcd server")
COMPACTIONS = ["--experimental-compact-hash-check-enabled", f"--experimental-compact-hash-check-time={INTERVAL}s"]


def begin(t, flags, n=3):
    """A cluster whose data has the value that is altered later, in everybody's database."""
    c = t.cluster(n, found=False)
    for node in c.nodes:
        node.flags = list(flags)
    c.found()
    for node in c.nodes:
        node.status()
    leader = c.wait_leader()
    c.ctl.must("puts", leader, 60, Key="k", Count=50, Size=20)
    c.ctl.must("put", leader, Key="altered", Value=GOOD.decode())
    c.ctl.must("puts", leader, 60, Key="k", Count=50, Size=20)
    c.wait_in_sync()
    return c


def alter(node, old=GOOD, new=BAD):
    """The value in the file of a member that is stopped, wherever a page has it; the file stays a whole one."""
    data = node.database.read_bytes()
    expect(old in data, f"{node}: the value is not in its database")
    node.database.write_bytes(data.replace(old, new))


def restart_altered(t, c, node, old=GOOD, new=BAD, **kw):
    node.stop()
    alter(node, old, new)
    t.tools.check_file(node.database)
    node.start(**kw)


def name_of(c, member):
    return "nobody in particular" if member == "0" else next((n.name for n in c.nodes if n.id == member), "a stranger")


def alarms(c):
    return sorted(f"{name_of(c, a['member'])} {a['alarm']}" for a in c.call("alarm", Action="GET")["alarms"])


def wait_alarm(t, c, label, seen=lambda alarms: alarms):
    clusters.wait_until(lambda: bool(alarms(c)) or "no alarm", f"{label}: an alarm", WAIT, every=0.1)
    t.note(f"{label}: alarms", seen(alarms(c)))


def no_alarm(t, c, label, seconds=QUIET):
    time.sleep(seconds)
    t.note(f"{label}: alarms", alarms(c))


def disarm(t, c):
    for a in c.call("alarm", Action="GET")["alarms"]:
        c.call("alarm", Action="DEACTIVATE", ID=a["member"], Alarm="CORRUPT")
    t.note("alarms after they were disarmed", alarms(c))


def said(t, c, label, node, since, *texts):
    """The different lines with one of these messages: level, message, and fields by name, members by theirs. Hashes differ
    from one cluster to the next, as the ids in them do not count."""
    found = set()
    for _, line in node.log_lines(since):
        if not any(x in line.get("msg", "") for x in texts):
            continue
        fields = {}
        for key, value in line.items():
            if key in ("ts", "caller", "level", "msg", "stacktrace", "data-dir", "advertise-client-urls") or "revision" in key:
                continue
            text = json.dumps(value)
            for n in c.nodes:
                text = re.sub(rf"\b{n.id}\b", n.name, text).replace(n.peer_url, f"{n.name}'s URL")
            if key == "remote-peer-id" and text == '"0"':  # etcd does not know it here; ours must be the right one
                text = f'"{next((n.name for n in c.nodes if n.peer_url in line["remote-peer-endpoints"]), "a stranger")}"'
            fields[key] = "HASH" if "hash" in key and re.fullmatch(r"\d+", text) else text
        found.add(" ".join([line["level"], line["msg"], *(f"{k}={v}" for k, v in fields.items())]))
    t.note(f"{label}: {node.name} says", " | ".join(sorted(found)) or "nothing")


def refusals(t, c, label, node):
    """What is served under the alarm and what is not, at one member."""
    for what, do, fields in (
            ("Put", "put", {"Key": "x", "Value": "x"}), ("DeleteRange", "delete", {"Key": "x"}),
            ("Compact", "compact", {"Revision": 5}), ("LeaseGrant", "grant", {"TTL": 60}),
            ("LeaseRevoke", "revoke", {"Lease": 77}), ("LeaseKeepAlive", "keepalive", {"Lease": 77}),
            ("Range", "get", {"Key": "altered"}), ("Range serializable", "get", {"Key": "altered", "Serial": True}),
            ("Txn of reads", "txnget", {"Key": "altered"}), ("MemberList", "members", {}), ("HashKV", "hashkv", {}),
            ("Snapshot", "snapshot", {}), ("Defragment", "defrag", {}), ("gRPC health", "health", {})):
        t.call(f"{label}, {what}", c, do, node, 5, **fields)
    errors = c.ctl.must("status", node)["errors"] or []
    t.note(f"{label}, Status tells", sorted(re.sub(r"\d{5,}", lambda m: name_of(c, f"{int(m.group()):x}"), e) for e in errors))
    for path in ("/health", "/health?exclude=CORRUPT", "/livez", "/readyz", "/readyz/data_corruption"):
        code, body = node.get(path)
        t.note(f"{label}, {path}", f"{code} {' '.join(sorted(line for line in body.split() if 'linearizable' not in line))}")


@case
def corruption_at_the_start(t):
    """--experimental-initial-corrupt-check: the altered member does not start, and says why; its data put right again it does.
    Whoever starts beside an altered one does not either, since two hashes do not tell who is right."""
    c = begin(t, INITIAL)
    victim, other = c.nodes[0], c.nodes[1]
    c.lead(other)
    since = victim.log_end()
    victim.restart(wait=True)
    said(t, c, "a restart with nothing altered", victim, since, "corruption check", "hash values", "checkInitialHashKV")

    victim.stop()
    alter(victim)
    since = victim.log_end()
    victim.start()
    t.ended("altered, it", victim)
    said(t, c, "altered", victim, since, "corruption check", *END)
    t.call("a put at the others", c, "put", other, Key="x", Value="x")
    t.note("alarms", alarms(c))
    t.lists("members", c)
    since = victim.log_end()
    victim.start()
    t.ended("altered, it once more", victim)
    said(t, c, "altered, once more", victim, since, "corruption check", *END)

    # Without the check it runs, and nobody minds: but whoever starts beside it with the check ends.
    victim.flags = []
    victim.start(wait=True)
    c.wait_in_sync()
    third = c.nodes[2]
    third.stop()
    since = third.log_end()
    third.start()
    t.ended("one that is right, beside the altered one", third)
    said(t, c, "one that is right", third, since, *END)
    victim.stop()
    alter(victim, BAD, GOOD)
    victim.flags = list(INITIAL)
    # Nobody else is there but one, without a majority: what cannot be asked is not compared.
    third.start()
    third.wait_ready()
    since = victim.log_end()
    victim.start(wait=True)
    said(t, c, "put right again", victim, since, "corruption check", *END)
    c.wait_in_sync()
    c.call("put", key="x", value="y")
    c.check_hashes()


@case
def corruption_found_by_the_leader(t):
    """--experimental-corrupt-check-time: the leader raises the alarm for the altered follower; what is refused then, at
    each member, and across a restart; disarmed, it comes again; put right, it does not."""
    c = begin(t, PERIODIC)
    victim, leader, third = c.nodes
    c.lead(leader)
    no_alarm(t, c, "nothing altered", 3 * INTERVAL)
    since = leader.log_end()
    restart_altered(t, c, victim, wait=True)
    c.lead(leader)
    wait_alarm(t, c, "m1 altered")
    said(t, c, "m1 altered", leader, since, "hashes must match", "found hash mismatch", "must be less than")
    for node in c.nodes:
        refusals(t, c, f"under the alarm, {'the altered one' if node is victim else 'the leader' if node is leader else 'the other'}", node)
    third.restart(wait=True)
    t.call("a put after a restart under the alarm", c, "put", third, Key="x", Value="x")
    t.note("alarms after a restart", alarms(c))
    disarm(t, c)
    wait_alarm(t, c, "still altered")
    restart_altered(t, c, victim, BAD, GOOD, wait=True)
    c.lead(leader)
    disarm(t, c)
    no_alarm(t, c, "put right")
    t.call("a put then", c, "put", leader, Key="x", Value="x")
    c.check_hashes()


@case
def corruption_of_the_leader(t):
    """--experimental-corrupt-check-time: the altered member leads. It takes itself for right, and another one gets the alarm."""
    c = begin(t, PERIODIC)
    victim = c.nodes[0]
    since = victim.log_end()
    restart_altered(t, c, victim, wait=True)
    c.wait_in_sync()
    # Whoever leads until then has found it: what is said of that is the case before.
    c.lead(victim)
    disarm(t, c)

    def another():
        return bool([a for a in alarms(c) if not a.startswith("m1 ")]) or alarms(c)
    clusters.wait_until(another, "an alarm by the altered leader", WAIT, every=0.1)
    t.note("m1 altered and leading: the alarm is of", "another" if not [a for a in alarms(c) if a.startswith("m1 ")] else alarms(c))
    expect(victim.log_has("same compact revision then hashes must match", since), "the leader does not say what it found")


@case
def corruption_found_by_compactions(t):
    """--experimental-compact-hash-check-enabled: two of three have one hash, so the third is corrupt, be it the leader; with no
    majority, nobody in particular is."""
    c = begin(t, COMPACTIONS)
    victim, leader, third = c.nodes

    def compacted(by):
        """A compaction that goes over the altered value."""
        c.lead(by)
        since = by.log_end()
        head = c.call("get", key="k/1")["revision"]
        c.ctl.must("compact", by, Revision=head, Physical=True)
        return since

    def more():
        c.ctl.must("put", c.wait_leader(), Key="altered", Value=GOOD.decode())
        c.ctl.must("puts", c.wait_leader(), 60, Key="k", Count=20, Size=20)
        c.wait_in_sync()

    since = compacted(leader)
    clusters.wait_until(lambda: leader.log_has("successfully checked hash on whole cluster", since) or "no check yet", "a check", WAIT, every=0.1)
    said(t, c, "nothing altered", leader, since, "successfully checked", "mismatch")
    t.note("nothing altered: alarms", alarms(c))

    more()
    restart_altered(t, c, victim, wait=True)
    since = compacted(leader)
    wait_alarm(t, c, "m1 altered")
    said(t, c, "m1 altered", leader, since, "Detected compaction hash mismatch")
    for node in (victim, leader):
        t.call(f"a put at {node.name} under the alarm", c, "put", node, Key="x", Value="x")
        t.call(f"a read at {node.name} under the alarm", c, "get", node, Key="altered")
    # Nobody alters what the others have: the altered member's own alarm stands, and the checks go on without another one.
    no_alarm(t, c, "later")
    restart_altered(t, c, victim, BAD, GOOD, wait=True)
    disarm(t, c)

    more()
    restart_altered(t, c, victim, wait=True)
    since = compacted(victim)
    wait_alarm(t, c, "m1 altered and leading")
    said(t, c, "m1 altered and leading", victim, since, "Detected compaction hash mismatch")
    restart_altered(t, c, victim, BAD, GOOD, wait=True)
    disarm(t, c)

    more()
    restart_altered(t, c, victim, wait=True)
    restart_altered(t, c, third, GOOD, b"value-that-nobody-else-has!", wait=True)
    since = compacted(leader)
    wait_alarm(t, c, "two altered")
    said(t, c, "two altered", leader, since, "Detected compaction hash mismatch")
    t.call("a put then", c, "put", leader, Key="x", Value="x")
