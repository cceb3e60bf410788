#!/usr/bin/env python3
"""Each call of the Auth service with good and bad input, and what every other call needs of its caller, at a member
under test and at a real etcd 3.6: codes, texts and all fields of the answers are compared.

    operations  the rules of each Auth call in their order, with auth off and on, and what each does to the auth revision
    needs       every call of every service by ten kinds of users and by nobody: single keys, ranges, open ends, nested
                transactions, prev_kv, leases, watches, administration, locks and elections
    watches     a watcher outlives its user's rights, token and the switch itself; creating one does not"""

import pathlib
import sys

sys.path.insert(0, str(pathlib.Path(__file__).resolve().parent.parent / "lib"))
from members import drive, expect  # noqa: E402
from twin import Pair, Twin, encode  # noqa: E402

FLAGS = ["--bcrypt-cost", "4"]
# bcrypt of "known" by another program, as a client may send it in hashed_password; and the same in standard base64.
KNOWN = b"$2a$04$7JLgf2AwBYSu4l/V9TvYiuLbLPxpSBQBQUm4hIlCDo7dr4xwJZRWK"
READ, WRITE, READWRITE = 0, 1, 2
OPEN = b"\0"


class Operations:
    """Auth calls; after each the auth revision is compared, too."""

    def __init__(self, twin):
        self.twin = twin
        self.root = None  # who asks; nobody while auth is off
        self.where = "off"

    def do(self, label, method, who="root", **request):
        who = self.root if who == "root" else who
        label = f"{self.where}: {label}"
        answer = self.twin.say(label, f"Auth/{method}", request, who)
        self.twin.say(f"{label}, status", "Auth/AuthStatus", {}, self.root)
        return answer

    def users(self):
        self.do("user without a name", "UserAdd", name="", password="x")
        self.do("user", "UserAdd", name="ann", password="pw-ann")
        self.do("user again", "UserAdd", name="ann", password="other")
        self.do("user without a password", "UserAdd", name="bob", options={"no_password": True})
        self.do("user without a password who sends one", "UserAdd", name="bob2", password="x", options={"no_password": True})
        self.do("user with an empty password", "UserAdd", name="empty")
        self.do("user with options and a password", "UserAdd", name="opt", password="o", options={})
        self.do("user who sends a hash", "UserAdd", name="hash", password="pw", hashedPassword=encode(KNOWN))
        self.do("user who sends a hash alone", "UserAdd", name="hash2", hashedPassword=encode(KNOWN))
        self.do("password of 72 bytes", "UserAdd", name="p72", password="a" * 72)
        self.do("password of 73 bytes", "UserAdd", name="p73", password="a" * 73)
        self.do("password of 73 bytes of a user that exists", "UserAdd", name="ann", password="a" * 73)
        self.do("password of 73 bytes of nobody", "UserAdd", name="", password="a" * 73)
        self.do("password of 40 two-byte letters", "UserAdd", name="pu", password="ü" * 40)
        self.do("a name of odd letters", "UserAdd", name="Zoë:/ \n\x01", password="z")
        self.do("a long name", "UserAdd", name="n" * 5000, password="z")
        for name in ("ann", "bob", "Zoë:/ \n\x01", "nobody", ""):
            self.do(f"get user {name}", "UserGet", name=name)
        self.do("list users", "UserList")
        self.do("password of nobody", "UserChangePassword", name="nobody", password="x")
        self.do("password of the empty name", "UserChangePassword", name="", password="x")
        self.do("new password", "UserChangePassword", name="ann", password="pw-2")
        self.do("new empty password", "UserChangePassword", name="opt", password="")
        self.do("new password by a hash alone", "UserChangePassword", name="hash2", hashedPassword=encode(KNOWN))
        self.do("new password and a hash", "UserChangePassword", name="hash", password="mine", hashedPassword=encode(KNOWN))
        self.do("a hash that is none", "UserChangePassword", name="p72", hashedPassword="no base64 !")
        self.do("a hash that is no bcrypt", "UserChangePassword", name="pu", hashedPassword=encode(b"plain"))
        self.do("new password of 73 bytes", "UserChangePassword", name="ann", password="a" * 73)
        self.do("new password of 73 bytes of nobody", "UserChangePassword", name="nobody", password="a" * 73)
        self.do("password for who has none", "UserChangePassword", name="bob", password="now")
        self.do("delete nobody", "UserDelete", name="nobody")
        self.do("delete the empty name", "UserDelete", name="")
        self.do("delete a user", "UserDelete", name="n" * 5000)
        self.do("delete again", "UserDelete", name="n" * 5000)

    def roles(self):
        self.do("role without a name", "RoleAdd", name="")
        for name in ("dev", "ops", "Zoë:/ \n\x01"):
            self.do(f"role {name}", "RoleAdd", name=name)
        self.do("role again", "RoleAdd", name="dev")
        self.do("role root", "RoleAdd", name="root")
        for name in ("dev", "root", "none", ""):
            self.do(f"get role {name}", "RoleGet", role=name)
        self.do("list roles", "RoleList")
        none = {"permType": READ, "key": b"", "range_end": b""}
        good = {"permType": READ, "key": b"k", "range_end": b""}
        for role in ("none", "", "dev"):
            self.do(f"grant nothing to {role}", "RoleGrantPermission", name=role)
            self.do(f"grant a permission of nothing to {role}", "RoleGrantPermission", name=role, perm={})
            self.do(f"grant the empty key to {role}", "RoleGrantPermission", name=role, perm=none)
            self.do(f"grant {role} a good one", "RoleGrantPermission", name=role, perm=good)
        for what, key, end in (("everything by an empty key", b"", OPEN), ("everything", OPEN, OPEN), ("an end below", b"k", b"a"),
                               ("an empty range", b"k", b"k"), ("an open end", b"m", OPEN), ("a range", b"a", b"c"),
                               ("the next range", b"c", b"e"), ("an empty key to an end", b"", b"e"),
                               ("all bytes", b"\xff\x00", b"\xff\xff")):
            self.do(f"grant {what}", "RoleGrantPermission", name="dev", perm={"permType": WRITE, "key": key, "range_end": end})
        for what, kind, key, end in (
                ("the same again", WRITE, b"a", b"c"), ("the same for reading", READ, b"a", b"c"), ("for both", READWRITE, b"a", b"c"),
                ("of an unknown kind", 7, b"a", b"c"), ("of a negative kind", -1, b"neg", b""), ("the key with another end", READ, b"a", b"d"),
                ("that again with another kind", WRITE, b"a", b"d"), ("the first of the key again", READ, b"a", b"c"),
                ("the key alone", WRITE, b"a", b""), ("that again", WRITE, b"a", b"")):
            self.do(f"grant {what}", "RoleGrantPermission", name="dev", perm={"permType": kind, "key": key, "range_end": end})
            self.do(f"grant {what}, get", "RoleGet", role="dev")
        # Go's sort of more than twelve changes the places of equals, and the first of them is the one replaced.
        for i in range(40):
            self.do(f"many {i}", "RoleGrantPermission", name="ops", perm={"permType": i % 3, "key": b"k%d" % (i % 3), "range_end": b"l%02d" % i})
        self.do("many, get", "RoleGet", role="ops")
        for i in range(6):
            self.do(f"many, again {i}", "RoleGrantPermission", name="ops", perm={"permType": READ, "key": b"k%d" % (i % 3), "range_end": b"l%02d" % i})
        self.do("many, get again", "RoleGet", role="ops")
        self.do("revoke in no role", "RoleRevokePermission", role="none", key=b"a")
        self.do("revoke with another end", "RoleRevokePermission", role="dev", key=b"a", range_end=b"zz")
        self.do("revoke the empty key", "RoleRevokePermission", role="dev", key=b"", range_end=b"")
        self.do("revoke the exact one", "RoleRevokePermission", role="dev", key=b"a", range_end=b"d")
        self.do("revoke it again", "RoleRevokePermission", role="dev", key=b"a", range_end=b"d")
        for i in range(0, 40, 3):
            self.do(f"many, revoke {i}", "RoleRevokePermission", role="ops", key=b"k%d" % (i % 3), range_end=b"l%02d" % i)
        self.do("many, left", "RoleGet", role="ops")

    def grants(self):
        self.do("role to nobody", "UserGrantRole", user="nobody", role="dev")
        self.do("no role to nobody", "UserGrantRole", user="nobody", role="none")
        self.do("no role", "UserGrantRole", user="ann", role="none")
        self.do("the empty role", "UserGrantRole", user="ann", role="")
        self.do("role", "UserGrantRole", user="ann", role="ops")
        self.do("a second role", "UserGrantRole", user="ann", role="dev")
        self.do("role again", "UserGrantRole", user="ann", role="dev")
        self.do("role root to a user", "UserGrantRole", user="bob", role="root")
        self.do("get user of roles", "UserGet", name="ann")
        self.do("revoke of nobody", "UserRevokeRole", name="nobody", role="dev")
        self.do("revoke what was not granted", "UserRevokeRole", name="empty", role="dev")
        self.do("revoke no role", "UserRevokeRole", name="ann", role="none")
        self.do("revoke", "UserRevokeRole", name="ann", role="ops")
        self.do("revoke root of a user", "UserRevokeRole", name="bob", role="root")
        self.do("delete no role", "RoleDelete", role="none")
        self.do("delete the empty role", "RoleDelete", role="")
        self.do("delete a role of users", "RoleDelete", role="dev")
        self.do("get user without the role", "UserGet", name="ann")
        self.do("delete the role again", "RoleDelete", role="dev")

    def logins(self):
        for name, password in (("ann", "pw-2"), ("ann", "pw-ann"), ("ann", ""), ("nobody", "x"), ("", ""), ("bob", "now"), ("bob", ""),
                               ("bob2", "x"), ("empty", ""), ("empty", "x"), ("opt", ""), ("opt", "o"), ("hash", "mine"), ("hash", "known"),
                               ("hash2", "known"), ("hash2", ""), ("p72", "a" * 72), ("p72", "a" * 73), ("p72", "a" * 71), ("p73", "a" * 73),
                               ("pu", "ü" * 40), ("pu", "plain"), ("Zoë:/ \n\x01", "z"), ("ann", "pw-2\0"), ("ann", "x" * 100000)):
            self.do(f"login of {name!r} by {password[:20]!r} ({len(password)})", "Authenticate", who=None, name=name, password=password)

    def clear(self):
        for name in ("ann", "bob", "bob2", "empty", "opt", "hash", "hash2", "p72", "p73", "pu", "Zoë:/ \n\x01"):
            self.do(f"clear user {name}", "UserDelete", name=name)
        for name in ("ops", "Zoë:/ \n\x01", "root"):
            self.do(f"clear role {name}", "RoleDelete", role=name)

    def lists(self):
        self.users()
        self.roles()
        self.grants()
        self.logins()
        self.clear()


def operations(twin):
    o = Operations(twin)
    o.do("disable while off", "AuthDisable")
    o.do("enable without root", "AuthEnable")
    o.do("login while off", "Authenticate", name="root", password="x")
    o.lists()
    o.do("root", "UserAdd", name="root", password="rootpw")
    o.do("enable without the role root", "AuthEnable")
    o.do("root's role", "UserGrantRole", user="root", role="root")
    o.do("login while still off", "Authenticate", name="root", password="rootpw")
    o.where, before = "on", o.root
    twin.must("Auth/AuthEnable")
    o.root = twin.login("root", "rootpw")
    o.do("status by nobody", "AuthStatus", who=before)
    o.do("enable again by nobody", "AuthEnable", who=None)
    o.do("enable again", "AuthEnable")
    o.lists()
    o.do("delete root", "UserDelete", name="root")
    o.do("revoke root of root", "UserRevokeRole", name="root", role="root")
    o.do("delete role root", "RoleDelete", role="root")
    o.do("add role root", "RoleAdd", name="root")
    o.do("permission for role root", "RoleGrantPermission", name="root", perm={"permType": READ, "key": b"r", "range_end": b""})
    o.do("get role root", "RoleGet", role="root")
    o.do("delete role root that is there", "RoleDelete", role="root")
    o.do("role to root", "UserGrantRole", user="root", role="root")
    o.do("another role to root", "UserGrantRole", user="root", role="none")
    o.do("revoke what root has not", "UserRevokeRole", name="root", role="none")
    o.do("disable by nobody", "AuthDisable", who=None)
    o.do("disable", "AuthDisable")
    o.do("disable again, by a token that is gone", "AuthDisable")
    o.where = "off again"
    o.do("role root goes", "RoleDelete", role="root")
    o.do("role root goes again", "RoleDelete", role="root")
    o.do("root loses its role", "UserRevokeRole", name="root", role="root")
    o.do("root goes", "UserDelete", name="root")
    o.root = None
    print("operations compared", flush=True)


# ---- what calls need ----

USERS = {  # name: its roles
    "root": ["root"], "boss": ["root"], "bare": [], "reader": ["read"], "writer": ["write"], "both": ["both"], "mixed": ["read", "part"],
    "tail": ["tail"], "all": ["all"], "odd": ["odd"],
}
ROLES = {  # name: permissions
    "read": [(READ, b"a", b"c"), (READ, b"c", b"e"), (READ, b"k", b"")],
    "write": [(WRITE, b"a", b"c"), (WRITE, b"c", b"e"), (WRITE, b"k", b"")],
    "both": [(READWRITE, b"a", b"e"), (READ, b"k", b""), (WRITE, b"k", b"k\0")],
    "part": [(WRITE, b"b", b"d"), (READWRITE, b"m", b"")],
    "tail": [(READWRITE, b"m", OPEN)],
    "all": [(READWRITE, OPEN, OPEN)],
    "odd": [(7, b"a", b"e"), (READWRITE, b"k", b"")],
}
OWN, PARTLY, BARE_LEASE, MISSING = 1001, 1002, 1003, 4711  # leases: on a and b, on b and z, on nothing, and none


def range_of(key, end=b"", **more):
    return {"key": key, "range_end": end, **more}


def put_of(key, **more):
    return {"key": key, "value": b"new", **more}


def op(kind, request):
    return {f"request_{kind}": request}


def keys_of_interest():
    return [(b"a", b""), (b"a", b"e"), (b"a", b"c"), (b"b", b"d"), (b"a", b"f"), (b"a", OPEN), (OPEN, OPEN), (b"k", b""), (b"k", b"k\0"), (b"z", b""),
            (b"m", b""), (b"m", OPEN), (b"n", b"p"), (b"e", b"a"), (b"a", b"a"), (b"z", b"a"), (b"", b""), (b"", OPEN), (b"\0", b""), (b"zz", b"")]


def transactions():
    """Name and request: what must be looked at in all its parts."""
    put_a, put_z, get_a, get_z = op("put", put_of(b"a")), op("put", put_of(b"z")), op("range", range_of(b"a")), op("range", range_of(b"z"))
    on_z = {"key": b"z", "target": 0, "version": 5, "result": 0}
    on_a = {**on_z, "key": b"a"}

    def nest(depth, **txn):
        for _ in range(depth):
            txn = {"success": [op("txn", txn)]}
        return txn
    yield "of nothing", {}
    yield "put", {"success": [put_a]}
    yield "put in the branch not taken", {"success": [put_a], "failure": [put_z]}
    yield "read in the branch not taken", {"success": [get_a], "failure": [get_z]}
    yield "read-only", {"success": [get_a]}
    yield "read-only, serializable", {"success": [op("range", range_of(b"z", serializable=True))]}
    yield "compare of a", {"compare": [on_a], "success": [get_a]}
    yield "compare alone", {"compare": [on_z]}
    yield "compare, then put", {"compare": [on_z], "success": [put_a]}
    yield "compare of a range", {"compare": [{**on_a, "range_end": b"e"}], "success": [put_a]}
    yield "compare of an open range", {"compare": [{**on_a, "range_end": OPEN}], "success": [put_a]}
    yield "compare of all", {"compare": [{**on_a, "key": OPEN, "range_end": OPEN}]}
    yield "compare without a key", {"compare": [{**on_a, "key": b""}]}
    for depth in (1, 2, 3):
        yield f"put nested {depth}", nest(depth, success=[put_z])
        yield f"own put nested {depth}", nest(depth, success=[put_a])
        yield f"put in a branch not taken, nested {depth}", nest(depth, failure=[put_z])
        yield f"prev_kv nested {depth}", nest(depth, success=[op("put", put_of(b"a", prev_kv=True))])
        yield f"lease nested {depth}", nest(depth, success=[op("put", put_of(b"a", lease=PARTLY))])
        yield f"own lease nested {depth}", nest(depth, success=[op("put", put_of(b"a", lease=OWN))])
        yield f"delete nested {depth}", nest(depth, success=[op("delete_range", range_of(b"a", b"e"))])
        yield f"delete with prev_kv nested {depth}", nest(depth, success=[op("delete_range", range_of(b"a", b"c", prev_kv=True))])
        yield f"open delete nested {depth}", nest(depth, success=[op("delete_range", range_of(b"a", OPEN))])
        yield f"read nested {depth}", nest(depth, success=[get_z])
        yield f"compare nested {depth}", nest(depth, compare=[on_z], success=[put_a])
    yield "put twice", {"success": [put_a, put_a]}
    yield "put of another's twice", {"success": [put_z, put_z]}
    yield "an empty operation", {"success": [put_a, {}]}
    yield "too many", {"success": [op("range", range_of(b"z"))] * 129}
    yield "put with an unknown lease", {"success": [op("put", put_of(b"a", lease=MISSING))]}
    yield "read of the future", {"success": [op("range", range_of(b"a", revision=100000)), put_a]}
    yield "read of another's future", {"success": [op("range", range_of(b"z", revision=100000)), put_a]}


def kv_calls():
    for key, end in keys_of_interest():
        name = f"{key!r} to {end!r}"
        yield f"range {name}", "KV/Range", range_of(key, end)
        yield f"serializable range {name}", "KV/Range", range_of(key, end, serializable=True)
        yield f"count {name}", "KV/Range", range_of(key, end, count_only=True, limit=1)
    yield "range of the future", "KV/Range", range_of(b"a", revision=100000)
    yield "range of another's future", "KV/Range", range_of(b"z", revision=100000)
    yield "range, sorted wrongly", "KV/Range", range_of(b"z", sort_order=9)
    for name, txn in transactions():
        yield f"txn: {name}", "KV/Txn", txn
    for key in (b"a", b"k", b"z", b"m", b"", b"new"):
        yield f"put {key!r}", "KV/Put", put_of(key)
        yield f"put {key!r} with prev_kv", "KV/Put", put_of(key, prev_kv=True)
        for lease in (OWN, PARTLY, BARE_LEASE, MISSING):
            yield f"put {key!r} with lease {lease}", "KV/Put", put_of(key, lease=lease)
        yield f"put {key!r} ignoring the lease", "KV/Put", {"key": key, "value": b"x", "ignore_lease": True}
        yield f"put {key!r} ignoring the value", "KV/Put", {"key": key, "ignore_value": True}
        yield f"put {key!r} ignoring both, with both", "KV/Put", {"key": key, "ignore_value": True, "value": b"v", "lease": OWN}
    for key, end in keys_of_interest():
        if (key, end) != (OPEN, OPEN):
            yield f"delete {key!r} to {end!r}", "KV/DeleteRange", range_of(key, end)
            yield f"delete {key!r} to {end!r} with prev_kv", "KV/DeleteRange", range_of(key, end, prev_kv=True)
    yield "compact the future", "KV/Compact", {"revision": 100000}
    yield "compact before", "KV/Compact", {"revision": -1}


def lease_calls():
    """What does not end a lease."""
    for lease in (OWN, PARTLY, BARE_LEASE, MISSING, 0):
        yield f"time to live {lease}", "Lease/LeaseTimeToLive", {"ID": lease}
        yield f"time to live {lease} with keys", "Lease/LeaseTimeToLive", {"ID": lease, "keys": True}
    yield "leases", "Lease/LeaseLeases", {}
    yield "grant a lease that is there", "Lease/LeaseGrant", {"ID": OWN, "TTL": 100}
    yield "grant too long", "Lease/LeaseGrant", {"ID": 5, "TTL": 9000000001}
    yield "grant", "Lease/LeaseGrant", {"ID": 77, "TTL": 1000}
    for lease in (77, MISSING, 0):
        yield f"revoke {lease}", "Lease/LeaseRevoke", {"ID": lease}


def other_calls(user):
    yield "member list", "Cluster/MemberList", {}
    yield "member list, linearizable", "Cluster/MemberList", {"linearizable": True}
    yield "member add without sense", "Cluster/MemberAdd", {"peerURLs": ["x"]}
    yield "member add twice", "Cluster/MemberAdd", {"peerURLs": ["http://127.0.0.1:1"], "isLearner": True}
    yield "member remove", "Cluster/MemberRemove", {"ID": 7}
    yield "member update", "Cluster/MemberUpdate", {"ID": 7, "peerURLs": ["http://127.0.0.1:7"]}
    if "root" not in USERS.get(user, []):  # a real member takes any URL from who may
        yield "member update without sense", "Cluster/MemberUpdate", {"ID": 7, "peerURLs": ["x"]}
    yield "member promote", "Cluster/MemberPromote", {"ID": 7}
    yield "status", "Maintenance/Status", {}
    yield "alarms", "Maintenance/Alarm", {}
    yield "alarm of a member", "Maintenance/Alarm", {"memberID": 5}
    yield "alarm on", "Maintenance/Alarm", {"action": 1, "memberID": 55, "alarm": 1}
    yield "alarms then", "Maintenance/Alarm", {"action": 0, "alarm": 1}
    yield "alarm off", "Maintenance/Alarm", {"action": 2, "memberID": 55, "alarm": 1}
    yield "defragment", "Maintenance/Defragment", {}
    yield "hash", "Maintenance/Hash", {}
    yield "hash of keys", "Maintenance/HashKV", {}
    yield "hash of the future", "Maintenance/HashKV", {"revision": 100000}
    yield "move the lead to nobody", "Maintenance/MoveLeader", {"targetID": 7}
    yield "downgrade, asked", "Maintenance/Downgrade", {"action": 0, "version": "3.5.0"}
    yield "downgrade, wrong", "Maintenance/Downgrade", {"action": 0, "version": "x"}
    yield "downgrade, off", "Maintenance/Downgrade", {"action": 2}
    yield "downgrade, unknown", "Maintenance/Downgrade", {"action": 9}
    yield "health", "Health/Check", {}
    yield "auth status", "Auth/AuthStatus", {}
    yield "enable", "Auth/AuthEnable", {}
    yield "users", "Auth/UserList", {}
    yield "roles", "Auth/RoleList", {}
    for name in ("root", "reader", "nobody", user or ""):
        yield f"user {name}", "Auth/UserGet", {"name": name}
    for name in ("root", "read", "none", *USERS.get(user, [])):
        yield f"role {name}", "Auth/RoleGet", {"role": name}
    yield "user add", "Auth/UserAdd", {"name": "fresh", "password": "f"}
    yield "user add again", "Auth/UserAdd", {"name": "fresh", "password": "f"}
    yield "user add, too long", "Auth/UserAdd", {"name": "fresh2", "password": "f" * 73}
    yield "own password", "Auth/UserChangePassword", {"name": "nobody", "password": "f"}
    yield "role add", "Auth/RoleAdd", {"name": "fresh"}
    yield "grant", "Auth/UserGrantRole", {"user": "fresh", "role": "fresh"}
    yield "permission", "Auth/RoleGrantPermission", {"name": "fresh", "perm": {"permType": 0, "key": b"f"}}
    yield "permission without sense", "Auth/RoleGrantPermission", {"name": "fresh"}
    yield "permission back", "Auth/RoleRevokePermission", {"role": "fresh", "key": b"f"}
    yield "revoke", "Auth/UserRevokeRole", {"name": "fresh", "role": "fresh"}
    yield "role delete", "Auth/RoleDelete", {"role": "fresh"}
    yield "user delete", "Auth/UserDelete", {"name": "fresh"}
    yield "delete root", "Auth/UserDelete", {"name": "root"}
    yield "wrong login", "Auth/Authenticate", {"name": "reader", "password": "wrong"}


def lock_calls():
    for name in (b"a", b"z", b"m"):
        yield f"lock {name!r}", "Lock/Lock", {"name": name, "lease": BARE_LEASE}
        yield f"lock {name!r} again", "Lock/Lock", {"name": name, "lease": BARE_LEASE}
        yield f"unlock {name!r}", "Lock/Unlock", {"key": name + b"/3eb"}
        yield f"lock {name!r} without its lease", "Lock/Lock", {"name": name, "lease": MISSING}
        yield f"campaign {name!r}", "Election/Campaign", {"name": name, "lease": BARE_LEASE, "value": b"v"}
        yield f"leader {name!r}", "Election/Leader", {"name": name}
        leader = {"name": name, "key": name + b"/3eb", "rev": 1, "lease": BARE_LEASE}
        yield f"proclaim {name!r}", "Election/Proclaim", {"leader": leader, "value": b"w"}
        yield f"resign {name!r}", "Election/Resign", {"leader": leader}
        yield f"free {name!r}", "KV/DeleteRange", {"key": name + b"/", "range_end": name + b"0"}
    yield "unlock nothing", "Lock/Unlock", {}
    yield "proclaim nothing", "Election/Proclaim", {}


def furnish(twin, root, what):
    """Keys and leases as they were: each user finds the same."""
    for lease in (OWN, PARTLY, BARE_LEASE, 77):
        twin.call("Lease/LeaseRevoke", {"ID": lease}, root)
    for lease in (OWN, PARTLY, BARE_LEASE):
        twin.must("Lease/LeaseGrant", {"ID": lease, "TTL": 1000}, root)
    leases = {b"a": OWN, b"b": OWN, b"z": PARTLY}
    for key in (b"a", b"b", b"c", b"d", b"k", b"m", b"z"):
        twin.must("KV/Put", {"key": key, "value": what.encode(), "lease": leases.get(key, 0)}, root)
    twin.must("KV/Put", {"key": b"bz", "value": b"x", "lease": PARTLY}, root)


def raise_the_house(twin):
    """Users and roles, auth on; returns everybody's login."""
    for role, perms in ROLES.items():
        twin.must("Auth/RoleAdd", {"name": role})
        for kind, key, end in perms:
            twin.must("Auth/RoleGrantPermission", {"name": role, "perm": {"permType": kind, "key": key, "range_end": end}})
    for user, roles in USERS.items():
        twin.must("Auth/UserAdd", {"name": user, "password": f"pw-{user}"})
        for role in roles:
            twin.must("Auth/UserGrantRole", {"user": user, "role": role})
    twin.must("Auth/AuthEnable")
    return {user: twin.login(user, f"pw-{user}") for user in USERS}


def served(twin):
    answers = twin.call("Lock/Unlock", {"key": b"nothing"})
    lacking = [n for n, a in zip(twin.names, answers) if a["code"] == "Unimplemented"]
    if lacking:
        print(f"Lock and Election are left out: not served by {', '.join(lacking)}", flush=True)
    return not lacking


def needs(twin):
    locks = served(twin)
    logins = raise_the_house(twin)
    root = logins["root"]
    for user, who in [*logins.items(), ("nobody", None), ("stranger", root.changed(lambda t: t[::-1]))]:
        furnish(twin, root, user)
        name = user if who else None
        part = [*kv_calls()] if user != "boss" else [c for c in kv_calls() if c[1] != "KV/Range"]
        for label, method, request in part:
            twin.say(f"{user}: {label}", method, request, who)
        furnish(twin, root, user)
        for label, method, request in [*lease_calls(), *other_calls(name), *(lock_calls() if locks else ())]:
            twin.say(f"{user}: {label}", method, request, who)
        for lease in (OWN, PARTLY, BARE_LEASE, MISSING, 0):
            twin.converse(f"{user}: keep alive {lease}", "Lease/LeaseKeepAlive", [{"ID": lease}, {"ID": BARE_LEASE}, {"ID": PARTLY}], who)
        watches = [{"key": k, "range_end": e, **more} for k, e in keys_of_interest() for more in ({}, {"prev_kv": True, "watch_id": 3})]
        watches += [{"key": b"z", "start_revision": -1}, {"key": b"a", "start_revision": 1}]
        for i, watch in enumerate(watches):
            twin.converse(f"{user}: watch {i} {watch}", "Watch/Watch", [{"create_request": watch}], who)
        twin.converse(f"{user}: watches", "Watch/Watch", [{"create_request": w} for w in watches[:12]], who)
        twin.converse(f"{user}: snapshot", "Maintenance/Snapshot", [{}], who)
        if locks:
            twin.must("Election/Campaign", {"name": b"z", "lease": BARE_LEASE, "value": b"leads"}, root)
            twin.converse(f"{user}: observe", "Election/Observe", [{"name": b"z"}], who)
        for lease in (BARE_LEASE, OWN, PARTLY):
            twin.say(f"{user}: revoke {lease}", "Lease/LeaseRevoke", {"ID": lease}, who)
        twin.say(f"after {user}", "KV/Range", range_of(OPEN, OPEN), root)
        twin.say(f"after {user}, hash", "Maintenance/HashKV", {}, root)
        twin.say(f"after {user}, users", "Auth/UserList", {}, root)
    twin.say("compact", "KV/Compact", {"revision": 20, "physical": True}, root)
    for user in ("reader", "bare", "root"):
        twin.say(f"{user}: compacted", "KV/Range", range_of(b"a", revision=10), logins[user])
        twin.say(f"{user}: compacted, of another", "KV/Range", range_of(b"z", revision=10), logins[user])
        twin.converse(f"{user}: watch what is compacted", "Watch/Watch", [{"create_request": {"key": b"a", "start_revision": 10}}], logins[user],
                      count=1 if user == "bare" else 2)
    print("needs compared", flush=True)
    return logins


def watches(twin, logins):
    """What a watcher may see is asked when it is made, and never again."""
    root = logins["root"]

    def events(label, stream):
        revisions = [int(r["header"]["revision"]) for r in twin.must("KV/Put", {"key": b"a", "value": label.encode()}, root)]
        twin.compare(f"watch: {label}", "Watch/Watch", "settled", twin.settle(stream, revisions))

    def create(label, stream, **more):
        twin.send(stream, {"create_request": {"key": b"a", **more}})
        twin.compare(f"watch: {label}", "Watch/Watch", "create", twin.read(stream))

    stream = twin.open("Watch/Watch", logins["reader"])
    create("a reader", stream)
    events("first event", stream)
    twin.must("Auth/RoleRevokePermission", {"role": "read", "key": b"a", "range_end": b"c"}, root)
    events("event after the right is gone", stream)
    create("a reader without the right", stream)
    twin.must("Auth/RoleGrantPermission", {"name": "read", "perm": {"permType": READ, "key": b"a", "range_end": b"c"}}, root)
    create("a reader with the right again", stream)
    twin.must("Auth/UserRevokeRole", {"name": "reader", "role": "read"}, root)
    create("a reader without the role", stream)
    twin.must("Auth/UserGrantRole", {"user": "reader", "role": "read"}, root)
    twin.must("Auth/UserChangePassword", {"name": "reader", "password": "next"}, root)
    create("a reader whose token is gone", stream)
    events("event after the token is gone", stream)
    twin.must("Auth/UserDelete", {"name": "reader"}, root)
    create("a reader who is gone", stream)
    events("event after the user is gone", stream)
    twin.must("Auth/AuthDisable", {}, root)
    create("with auth off", stream)
    bare = twin.open("Watch/Watch")
    create("nobody with auth off", bare)
    keep = twin.open("Lease/LeaseKeepAlive")
    twin.must("Lease/LeaseGrant", {"ID": 9, "TTL": 1000})
    twin.send(keep, {"ID": 9})
    twin.compare("watch: keep alive with auth off", "Lease/LeaseKeepAlive", "9", twin.read(keep))
    twin.must("Auth/AuthEnable")
    root = twin.login("root", "pw-root")
    twin.send(keep, {"ID": 9})
    twin.compare("watch: keep alive with auth on", "Lease/LeaseKeepAlive", "9", twin.read(keep))
    create("nobody with auth on", bare)
    events("event to nobody", bare)
    expect(twin.read(bare, 1, 50)[0].get("messages") is None, "more than one event")
    print("watches compared", flush=True)


def main(tools, args, folder):
    twin = Twin(tools, Pair(tools, folder, FLAGS).endpoints)
    operations(twin)
    logins = needs(twin)
    watches(twin, logins)
    twin.finish()


if __name__ == "__main__":
    drive(main, __doc__, needs=("interop", "oracle-3.6"))
