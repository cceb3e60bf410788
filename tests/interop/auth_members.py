#!/usr/bin/env python3
"""Users and roles across members and programs.

    handed  one data directory with auth on goes from a real etcd 3.6 to the program under test and back, twice, by SIGTERM and
            by SIGKILL: everybody logs in and may do what he may, records of users and roles stay as they are
    mixed   clusters of both programs: users that are made at one member are seen at all, tokens of one are good at all, roles
            and passwords change everywhere at once, each leads once, each is killed and comes back, leases end under every
            leader, a member that was away is sent a snapshot, a new member joins; many write at all members while rights
            change, and all members hold the same keys; the records are the same bytes on all

--members A,B,C runs one cluster."""

import collections
import pathlib
import sys
import threading
import time

sys.path.insert(0, str(pathlib.Path(__file__).resolve().parent.parent / "lib"))
import cluster as clusters  # noqa: E402
from members import Failure, Member, drive, expect  # noqa: E402
from twin import Login, Twin, dump  # noqa: E402

OPEN = b"\0"
EMPTY, DENIED, BAD_TOKEN = "etcdserver: user name is empty", "etcdserver: permission denied", "etcdserver: invalid auth token"
LOGIN = "etcdserver: authentication failed, invalid user ID or password"
BUCKETS = ("auth", "authUsers", "authRoles")
WAIT_SECONDS = 60


def until(check, what, seconds=WAIT_SECONDS):
    """check() returns True, or something that says how things are."""
    deadline = time.monotonic() + seconds
    while (now := check()) is not True:
        if time.monotonic() > deadline:
            raise Failure(f"not after {seconds} s: {what}; last seen: {now}")
        time.sleep(0.05)


def says(twin, expected, method, request, who=None, to=None):
    """All members (or those of `to`) answer so: "OK", or an error's text."""
    for name, answer in zip(to or twin.names, twin.call(method, request, who, to=to)):
        said = answer.get("message") or answer["code"]
        expect(said == expected, f"{name} answers {method} {request} by {who.user if who else 'nobody'} with {said}, not {expected}")


def perm(role, key, end=b"", kind=2):
    return {"name": role, "perm": {"permType": kind, "key": key, "range_end": end}}


def found(twin, first):
    """Users, roles, auth on; all by one member."""
    def do(method, **request):
        says(twin, "OK", f"Auth/{method}", request, to=[first])
    for user, password in (("root", "pw-root"), ("ann", "pw-ann"), ("bob", "pw-bob")):
        do("UserAdd", name=user, password=password)
    do("UserAdd", name="certificate", options={"no_password": True})
    for role in ("root", "team", "tail", "many"):
        do("RoleAdd", name=role)
    do("RoleGrantPermission", **perm("team", b"team/", b"team0"))
    do("RoleGrantPermission", **perm("team", b"read", kind=0))
    do("RoleGrantPermission", **perm("tail", b"z", OPEN, 1))
    for i in range(30):  # many of one key: their order is etcd's, on disk, too
        do("RoleGrantPermission", **perm("many", b"m%d" % (i % 2), b"n%02d" % i, i % 3))
    for user, role in (("root", "root"), ("ann", "team"), ("ann", "tail"), ("bob", "many")):
        do("UserGrantRole", user=user, role=role)
    do("AuthEnable")


def log_in(twin, user, password, at=None):
    """A login at one member; the token is used at all."""
    answer, = twin.call("Auth/Authenticate", {"name": user, "password": password}, to=[at or twin.names[0]])
    if answer["code"] != "OK":
        raise Failure(f"{user} cannot log in at {at}: {answer}")
    # A token names the entry before its own, so that a member that has applied only that one calls it invalid. A linearizable
    # read, which nobody may do, waits for both.
    twin.call("KV/Range", {"key": b"x"})
    return Login(user, [answer["response"]["token"]] * len(twin.names))


def rights(twin, root, ann, bob, to=None):
    """Who may do what, at each member."""
    for expected, method, request, who in (
            ("OK", "KV/Put", {"key": b"team/x", "value": b"1"}, ann), ("OK", "KV/Put", {"key": b"zz", "value": b"1"}, ann),
            ("OK", "KV/Range", {"key": b"team/", "range_end": b"team0"}, ann), ("OK", "KV/Range", {"key": b"read"}, ann),
            (DENIED, "KV/Put", {"key": b"read", "value": b"1"}, ann), (DENIED, "KV/Range", {"key": b"zz"}, ann),
            (DENIED, "KV/Put", {"key": b"zz", "value": b"1", "prev_kv": True}, ann), ("OK", "KV/DeleteRange", {"key": b"zz", "range_end": OPEN}, ann),
            (DENIED, "KV/DeleteRange", {"key": b"y", "range_end": OPEN}, ann), (DENIED, "KV/Put", {"key": b"team/x", "value": b"1"}, bob),
            ("OK", "KV/Put", {"key": b"anything", "value": b"1"}, root), (EMPTY, "KV/Range", {"key": b"team/x"}, None),
            (DENIED, "Auth/UserList", {}, ann), ("OK", "Auth/UserGet", {"name": ann.user}, ann), (DENIED, "Auth/RoleGet", {"role": "many"}, ann),
            ("OK", "Auth/RoleGet", {"role": "many"}, bob), (EMPTY, "Auth/AuthDisable", {}, None), (DENIED, "KV/Compact", {"revision": 1}, ann),
            (LOGIN, "Auth/Authenticate", {"name": "ann", "password": "pw-bob"}, None),
            (DENIED, "KV/Txn", {"success": [{"request_txn": {"failure": [{"request_put": {"key": b"read"}}]}}]}, ann)):
        says(twin, expected, method, request, who, to)


def handed(tools, folder):
    member = Member(folder, ["--bcrypt-cost", "4"])
    programs = {"3.6": tools.real, "ours": tools.ours}
    member.start(programs["3.6"])
    twin = Twin(tools, {"member": member.endpoint})
    found(twin, "member")
    kept, before = None, "3.6"
    for i, kind in enumerate(["ours", "3.6", "ours", "3.6"]):
        (member.kill if i >= 2 else member.stop)()
        records = dump(tools, member, *BUCKETS, salts=True)
        if kept is not None and i < 2:
            expect(records == kept, f"records that {before} changed: {[(k, kept.get(k), records.get(k)) for k in {*kept, *records} if kept.get(k) != records.get(k)]}")
        tools.check_file(member.database)
        member.start(programs[kind])
        root, ann, bob = (log_in(twin, u, f"pw-{u}") for u in ("root", "ann", "bob"))
        rights(twin, root, ann, bob)
        # What this one makes, the next must understand.
        says(twin, "OK", "Auth/UserAdd", {"name": f"of-{i}", "password": f"pw-{i}"}, root)
        says(twin, "OK", "Auth/UserGrantRole", {"user": f"of-{i}", "role": "team"}, root)
        says(twin, "OK", "Auth/UserChangePassword", {"name": "bob", "password": "pw-bob"}, root)
        for j in range(i + 1):
            rights(twin, root, log_in_with_tail(twin, root, f"of-{j}", f"pw-{j}"), log_in(twin, "bob", "pw-bob"))
        granted = twin.call("Lease/LeaseGrant", {"ID": 100 + i, "TTL": 2}, root)
        expect(granted[0]["code"] == "OK", granted)
        says(twin, "OK", "KV/Put", {"key": b"team/leased", "value": b"1", "lease": 100 + i}, root)
        gone(twin, root, b"team/leased", kind)
        member.stop()
        kept, before = dump(tools, member, *BUCKETS, salts=True), kind
        member.start(programs[kind])
    member.stop()
    tools.check_file(member.database)
    twin.finish()
    print("handed: 3.6, ours, 3.6, ours, 3.6, with auth on", flush=True)


def log_in_with_tail(twin, root, user, password):
    """A user of the role team gets the role tail, too, and has the rights of ann then."""
    says(twin, "OK", "Auth/UserGrantRole", {"user": user, "role": "tail"}, root)
    return log_in(twin, user, password)


def gone(twin, root, key, what):
    began = time.monotonic()

    def ended():
        answers = twin.call("KV/Range", {"key": key}, root)
        return all(a["code"] == "OK" and "kvs" not in a["response"] for a in answers) or answers
    until(ended, f"the lease has ended: {what}", 20)
    return time.monotonic() - began


class House:
    """A cluster with auth on. Each member is called by its name."""

    def __init__(self, tools, folder, kinds):
        options = {"snapshot-count": 100, "snapshot-catchup-entries": 20, "bcrypt-cost": 4}
        self.cluster = clusters.Cluster(tools, folder, kinds, options=options).found()
        self.tools = tools
        self.nodes = {n.name: n for n in self.cluster.nodes}
        self.twin = Twin(tools, {n.name: n.endpoint for n in self.cluster.nodes}, also_masked=("member_id", "revision"))
        found(self.twin, self.cluster.nodes[0].name)
        self.root = None

    def enter(self):
        """Tokens that all members know, after one has lost those it had in memory."""
        self.root = log_in(self.twin, "root", "pw-root")
        self.agree()

    def agree(self):
        """All members have applied what one has, and tell one auth revision."""
        def one():
            answers = self.twin.call("Auth/AuthStatus", {}, self.root)
            return len({a.get("response", {}).get("authRevision", str(a)) for a in answers}) == 1 and answers[0]["code"] == "OK" or answers
        until(one, "all members tell one auth revision")

    def leader(self):
        for name in self.twin.names:
            answer, = self.twin.call("Maintenance/Status", {}, self.root, to=[name], millis=2000)
            leader = answer.get("response", {}).get("leader")
            if leader:
                return next((n for n, node in self.nodes.items() if int(node.id, 16) == int(leader)), None)
        return None

    def lead(self, name):
        def led():
            leader = self.leader()
            if leader is None or leader == name:
                return leader == name or "no leader"
            return self.twin.call("Maintenance/MoveLeader", {"targetID": str(int(self.nodes[name].id, 16))}, self.root, to=[leader], millis=8000)
        until(led, f"{name} leads")

    def up(self, name):
        """A member that was started answers for itself: it takes a login."""
        def there():
            answer, = self.twin.call("Auth/Authenticate", {"name": "root", "password": "pw-root"}, to=[name], millis=3000)
            return answer["code"] == "OK" or answer
        until(there, f"{self.nodes[name]} serves again")


def users_everywhere(house, i, name):
    """What is changed at one member holds at all."""
    twin, root = house.twin, house.root
    user = f"user-{i}"
    for method, request in (("UserAdd", {"name": user, "password": "first"}), ("UserGrantRole", {"user": user, "role": "team"})):
        says(twin, "OK", f"Auth/{method}", request, root, [name])
    tokens = {}
    for at in twin.names:  # linearizable: no member may still be without the user
        tokens[at] = log_in(twin, user, "first", at)
    for at, who in tokens.items():
        says(twin, "OK", "KV/Put", {"key": b"team/" + at.encode(), "value": b"1"}, who)
        says(twin, "OK", "KV/Range", {"key": b"team/", "range_end": b"team0"}, who)
        says(twin, DENIED, "KV/Put", {"key": b"zz", "value": b"1"}, who)
    says(twin, "OK", "Auth/UserGrantRole", {"user": user, "role": "tail"}, root, [name])
    house.agree()  # a member that has not heard of it yet stamps requests with the old auth revision, which are refused
    for who in tokens.values():
        says(twin, "OK", "KV/Put", {"key": b"zz", "value": b"1"}, who)
    says(twin, "OK", "Auth/UserChangePassword", {"name": user, "password": "second"}, root, [name])
    house.agree()
    for who in tokens.values():
        says(twin, BAD_TOKEN, "KV/Put", {"key": b"zz", "value": b"1"}, who)
    says(twin, LOGIN, "Auth/Authenticate", {"name": user, "password": "first"})
    says(twin, "OK", "Auth/Authenticate", {"name": user, "password": "second"})
    twin.say("users", "Auth/UserList", {}, root)
    twin.say("roles", "Auth/RoleGet", {"role": "many"}, root)


def leases_end(house, i, leader):
    """A user's lease, granted at each member, kept alive at another, then left alone."""
    twin = house.twin
    ann = log_in(twin, "ann", "pw-ann")
    for j, name in enumerate(twin.names):
        lease = 1000 + 10 * i + j
        says(twin, "OK", "Lease/LeaseGrant", {"ID": lease, "TTL": 3}, ann, [name])
        says(twin, "OK", "KV/Put", {"key": b"team/lease/%d" % j, "value": b"1", "lease": lease}, ann, [name])
        twin.converse("keep alive at each", "Lease/LeaseKeepAlive", [{"ID": lease}], ann)
        says(twin, "OK", "Lease/LeaseTimeToLive", {"ID": lease, "keys": True}, ann)
        says(twin, DENIED, "Lease/LeaseRevoke", {"ID": lease}, log_in(twin, "bob", "pw-bob"))
    for j in range(len(twin.names)):
        gone(twin, house.root, b"team/lease/%d" % j, f"{leader} leads")


def absence(house, name, quiet):
    """A member is killed; users change meanwhile; it comes back with them, by the log or (`quiet` false) by a snapshot."""
    twin, node = house.twin, house.nodes[name]
    others = [n for n in twin.names if n != name]
    node.kill()

    def go_on():
        answers = twin.call("KV/Put", {"key": b"alive"}, house.root, to=others, millis=3000)
        return all(a["code"] == "OK" for a in answers) or answers
    until(go_on, f"the others go on without {node}")
    user = f"while-{name}-{'log' if quiet else 'snapshot'}"
    says(twin, "OK", "Auth/UserAdd", {"name": user, "password": "x"}, house.root, others[:1])
    says(twin, "OK", "Auth/UserGrantRole", {"user": user, "role": "team"}, house.root, others[1:])
    until(go_on, "the others have heard of the change, and stamp requests with the new auth revision")
    if not quiet:
        for i in range(300):
            says(twin, "OK", "KV/Put", {"key": b"fill/%d" % i, "value": b"1"}, house.root, others[:1])
    node.start()
    house.up(name)
    house.enter()
    who = log_in(twin, user, "x", name)
    says(twin, "OK", "KV/Put", {"key": b"team/back", "value": b"1"}, who)
    says(twin, DENIED, "KV/Put", {"key": b"zz", "value": b"1"}, who)


def storm(house, seconds=6):
    """Users write at all members while their rights change: each member decides alone what an entry may do, and all must
    decide alike, or their keys differ."""
    twin, root = house.twin, house.root
    over = threading.Event()
    said = collections.Counter()

    def write(number):
        own = Twin(house.tools, {name: node.endpoint for name, node in house.nodes.items()})
        at = own.names[number % len(own.names)]
        who, i = None, 0
        while not over.is_set():
            i += 1
            if who is None or i % 50 == 0:
                answer, = own.call("Auth/Authenticate", {"name": "ann", "password": "pw-ann"}, to=[at])
                who = Login("ann", [answer["response"]["token"]] * len(own.names)) if answer["code"] == "OK" else None
            key = b"team/storm/%d" % (i % 7)
            method, request = [
                ("Put", {"key": key, "value": b"%d-%d" % (number, i)}), ("Put", {"key": b"zz/%d" % number, "value": b"1", "prev_kv": i % 2 == 0}),
                ("DeleteRange", {"key": key, "prev_kv": True}), ("Put", {"key": key, "lease": 5000, "prev_kv": True}),
                ("Txn", {"compare": [{"key": key, "target": 0, "version": 1, "result": 1}],
                         "success": [{"request_txn": {"success": [{"request_put": {"key": key, "value": b"t"}}]}}],
                         "failure": [{"request_delete_range": {"key": b"zz", "range_end": OPEN}}]})][i % 5]
            answer, = own.call(f"KV/{method}", request, who, to=[at])
            said[answer.get("message", answer["code"])] += 1
            if answer.get("message") == BAD_TOKEN:
                who = None
        own.end()

    says(twin, "OK", "Lease/LeaseGrant", {"ID": 5000, "TTL": 1000}, root, twin.names[:1])
    threads = [threading.Thread(target=write, args=(n,), daemon=True) for n in range(4)]
    for t in threads:
        t.start()
    end, i = time.monotonic() + seconds, 0
    while time.monotonic() < end or min(said["OK"], said[DENIED]) < 20 and time.monotonic() < end + WAIT_SECONDS:
        i += 1
        method, request = [
            ("UserRevokeRole", {"name": "ann", "role": "team"}), ("UserGrantRole", {"user": "ann", "role": "team"}),
            ("RoleRevokePermission", {"role": "tail", "key": b"z", "range_end": OPEN}), ("RoleGrantPermission", perm("tail", b"z", OPEN, 2 if i % 8 < 4 else 1)),
            ("UserChangePassword", {"name": "ann", "password": "pw-ann"})][i % 5]
        twin.call(f"Auth/{method}", request, root, to=[twin.names[i % len(twin.names)]])
    over.set()
    for t in threads:
        t.join(WAIT_SECONDS)
    for method, request in (("RoleGrantPermission", perm("tail", b"z", OPEN, 1)), ("UserGrantRole", {"user": "ann", "role": "team"})):
        says(twin, "OK", f"Auth/{method}", request, root, twin.names[:1])
    house.agree()
    revision = max(int(a["response"]["header"]["revision"]) for a in twin.call("KV/Range", {"key": b"x"}, root))
    hashes = {n: a["response"]["hash"] for n, a in zip(twin.names, twin.call("Maintenance/HashKV", {"revision": revision}, root))}
    expect(len(set(hashes.values())) == 1, f"keys differ at revision {revision} after {i} changes of rights: {hashes}; {said}")
    expect(said["OK"] and said[DENIED], f"nothing was allowed, or nothing refused: {said}")
    print(f"{i} changes of rights under writes: " + ", ".join(f"{n} × {k.split(': ')[-1]}" for k, n in said.most_common()), flush=True)


def newcomer(house, kind):
    """A member joins a cluster that has auth on; the calls that add it need root."""
    twin, cluster = house.twin, house.cluster
    node = cluster._node(kind)
    says(twin, EMPTY, "Cluster/MemberAdd", {"peerURLs": [node.peer_url]})
    answers = []

    def added():
        answers[:] = twin.call("Cluster/MemberAdd", {"peerURLs": [node.peer_url]}, house.root, to=twin.names[:1])
        return answers[0]["code"] == "OK" or answers
    until(added, f"{node} is added")
    node.initial, node.state = cluster.initial_cluster(), "existing"
    node.id = f"{int(answers[0]['response']['member']['ID']):x}"
    node.start()
    twin.dial(node.name, node.endpoint)
    twin.names.append(node.name)
    house.nodes[node.name] = node
    # A real member that was sent a snapshot beyond index 5,000 counts as applied only what it applies after it: until an
    # entry of somebody else comes, it refuses its own proposals, publishing itself among them, with "too many requests".
    quiet = threading.Event()

    def write():
        others = twin.names[:-1]
        own = Twin(house.tools, {name: house.nodes[name].endpoint for name in others})
        while not quiet.wait(1):
            own.call("KV/Put", {"key": b"newcomer", "value": b"1"}, house.root, to=others[:1])
        own.end()
    writer = threading.Thread(target=write, daemon=True)
    if kind != "quoin":
        writer.start()
    house.up(node.name)
    quiet.set()
    if kind != "quoin":
        writer.join(WAIT_SECONDS)
    house.enter()
    return node


def mixed(tools, folder, kinds, long):
    what = "/".join(kinds)
    house = House(tools, folder, kinds)
    try:
        twin = house.twin
        house.enter()
        for i, name in enumerate(list(twin.names)):
            house.lead(name)
            users_everywhere(house, i, name)
            rights(twin, house.root, log_in(twin, "ann", "pw-ann", name), log_in(twin, "bob", "pw-bob", name))
            leases_end(house, i, f"{house.nodes[name]} in {what}")
            print(f"{what}: {house.nodes[name]} leads, users and leases are right at all", flush=True)
        for i, name in enumerate(list(twin.names)):
            absence(house, name, quiet=i != 0)
        absence(house, twin.names[-1], quiet=False)
        storm(house, 60 if long else 6)
        newcomer(house, "3.6" if kinds.count("3.6") < 2 else "quoin")
        says(twin, "OK", "Auth/AuthDisable", {}, house.root, twin.names[-1:])
        says(twin, "OK", "KV/Put", {"key": b"nobody", "value": b"1"})
        says(twin, "OK", "Auth/AuthEnable", {}, None, twin.names[:1])
        house.enter()
        says(twin, EMPTY, "KV/Put", {"key": b"nobody", "value": b"1"})
        rights(twin, house.root, log_in(twin, "ann", "pw-ann"), log_in(twin, "bob", "pw-bob"))
        # Once one is stopped the others may elect; all have the same by now.
        house.agree()
        for node in house.nodes.values():
            node.process.terminate()
        for node in house.nodes.values():
            node.wait_exit()
        records = {str(node): dump(tools, node, *BUCKETS, salts=True) for node in house.nodes.values()}
        first = next(iter(records.values()))
        for name, record in records.items():
            bad = [(k, first.get(k), record.get(k)) for k in {*first, *record} if first.get(k) != record.get(k)]
            expect(not bad, f"{what}: {name} has other records: {bad}")
        twin.finish()
        print(f"{what}: {len(first)} records are the same bytes on all", flush=True)
    finally:
        house.cluster.close()


def main(tools, args, folder):
    if args.members:
        mixed(tools, folder / "mixed", args.members.split(","), args.long)
        return
    if not args.part or "handed" in args.part:
        handed(tools, folder / "handed")
    if not args.part or "mixed" in args.part:
        mixes = [["quoin", "3.6", "quoin"], ["3.6", "quoin", "3.6"]]
        if args.long:
            mixes += [["quoin"] * 3, ["3.5", "quoin", "3.6"], ["quoin", "3.7", "3.6"]]
        for i, kinds in enumerate(mixes):
            mixed(tools, folder / f"mixed-{i}", kinds, args.long)


def arguments(parser):
    parser.add_argument("--part", action="append", choices=["handed", "mixed"])
    parser.add_argument("--members", help="the kinds of one cluster's members: quoin, 3.5, 3.6, 3.7")


if __name__ == "__main__":
    drive(main, __doc__, arguments, needs=("interop", "oracle-3.6"))
