"""What users may do: a small model of etcd's users and roles, written from the sheet of the API (api-semantics 6), which says
of each request in a sequence whether it is allowed.

    model.judge(method, request, token) -> None (allowed) or the text of the error; it changes users and roles as it goes

Requests are those of lib/twin.py, bytes as bytes. After Authenticate the new token is model.token: its user, the revision it
was made at (JWT), whether it still lives. model.keys (each with its lease) and model.leases are kept by who runs it. A request
may fail for what has nothing to do with users, which the model does not know; nor does it judge ranges that end before they begin."""

from types import SimpleNamespace

ROOT, OPEN, LAST = "root", b"\0", b"\xff" * 100  # the last is behind all keys
READ, WRITE, READWRITE = 0, 1, 2
EMPTY, DENIED, OLD = "etcdserver: user name is empty", "etcdserver: permission denied", "etcdserver: revision of auth store is old"
NO_USER, NO_ROLE = "etcdserver: user name not found", "etcdserver: role name not found"
BAD_TOKEN, MANAGEMENT = "etcdserver: invalid auth token", "etcdserver: invalid auth management"

NEEDS_ADMIN = {"Compact", "MemberAdd", "MemberRemove", "MemberUpdate", "MemberPromote", "Defragment", "Hash", "HashKV", "Snapshot",
               "MoveLeader", "Downgrade"}
NEEDS_USER = {"MemberList", "Status", "Alarm", "LeaseGrant", "LeaseRevoke", "LeaseTimeToLive", "LeaseLeases", "LeaseKeepAlive"}


class Refused(Exception):
    pass


def need(condition, text):
    if not condition:
        raise Refused(text)


def interval(key, end):
    return key, (key + b"\0" if not end else LAST if end == OPEN else end)


class Model:
    def __init__(self):
        self.enabled, self.revision, self.jwt = False, 1, False
        self.users, self.roles = {}, {}  # name -> [password (None: has none), roles]; name -> [(kind, key, end)], sorted by key
        self.tokens, self.token, self.keys, self.leases = [], None, {}, set()

    def judge(self, method, r, token=None):
        service, call = method.split("/")
        try:
            if self.enabled and call != "Authenticate":
                need(not token or token.alive, BAD_TOKEN)
                self.user = token.user if token else None
                self.stale = token is not None and token.revision not in (None, self.revision)
                self.check(service, call, r)
            return getattr(self, call, lambda r: None)(r) if service == "Auth" else None
        except Refused as why:
            return str(why)

    def check(self, service, call, r):
        roles = self.users[self.user][1] if self.user in self.users else ()
        own = call == "UserGet" and r["name"] == self.user or call == "RoleGet" and r["role"] in roles
        if service == "Auth" and not own or call in NEEDS_ADMIN or call == "Alarm" and r.get("action"):
            need(self.user, EMPTY)
            need(self.user in self.users, NO_USER)
            need(ROOT in roles, DENIED)
        elif call in NEEDS_USER:
            need(self.user is not None, EMPTY)
        ask = {"Range": self.range, "Watch": self.range, "Put": self.put, "DeleteRange": self.put,
               "Txn": lambda r: need(not (self.txn(r) and self.stale), OLD),
               "LeaseRevoke": lambda r: self.lease(WRITE, [r["ID"]]),
               "LeaseKeepAlive": lambda r: self.lease(WRITE, [r["ID"]]),
               "LeaseTimeToLive": lambda r: self.lease(READ, [r["ID"]] if r.get("keys") else []),
               "LeaseLeases": lambda r: self.lease(READ, self.leases)}
        if call in ask:
            ask[call](r)

    def may(self, kind, key, end=b""):
        need(self.user is not None, EMPTY)
        need(not self.stale, OLD)
        need(self.user in self.users, DENIED)
        if ROOT in self.users[self.user][1]:
            return
        at, last = interval(key, end)
        given = [interval(k, e) for role in self.users[self.user][1] for p, k, e in self.roles.get(role, ()) if p in (kind, READWRITE)]
        for first, upto in sorted(given):
            at = max(at, upto) if first <= at else at
        need(at >= last, DENIED)

    def range(self, r):
        self.may(READ, r["key"], r.get("range_end"))

    def put(self, r):
        self.may(WRITE, r["key"], r.get("range_end"))
        if r.get("prev_kv"):
            self.range(r)
        self.lease(WRITE, [r.get("lease")])

    delete_range = put

    def txn(self, r):
        for compare in r.get("compare", ()):
            self.range(compare)
        ops = [op for branch in ("success", "failure") for op in r.get(branch, ())]
        for kind, request in [part for op in ops for part in op.items()]:
            getattr(self, kind.removeprefix("request_"))(request)
        return all("request_range" in op for op in ops)  # only reads: the token's revision counts even if nothing is read

    def lease(self, kind, leases):
        if not (self.user in self.users and ROOT in self.users[self.user][1]):
            for key in [k for k, lease in self.keys.items() if lease and lease in leases]:
                self.may(kind, key)

    def changed(self, *users):
        """One auth revision more; the simple tokens of these users end."""
        self.revision += 1
        for t in self.tokens:
            t.alive = t.alive and (self.jwt or t.user not in users)

    def Authenticate(self, r):
        need(self.enabled, "etcdserver: authentication is not enabled")
        password = self.users[r["name"]][0] if r["name"] in self.users else ""
        need(password is not None, "auth: authentication failed, password was given for no password user")
        need(r["name"] in self.users and password == r["password"], "etcdserver: authentication failed, invalid user ID or password")
        self.token = SimpleNamespace(user=r["name"], revision=self.revision if self.jwt else None, alive=True)
        self.tokens.append(self.token)

    def AuthEnable(self, r):
        need(ROOT in self.users, "etcdserver: root user does not exist")
        need(ROOT in self.users[ROOT][1], "etcdserver: root user does not have root role")
        self.enabled = True

    def AuthDisable(self, r):
        if self.enabled:
            self.changed(*[t.user for t in self.tokens])
        self.enabled = False

    def UserAdd(self, r):
        need(r["name"], EMPTY)
        need(r["name"] not in self.users, "etcdserver: user name already exists")
        self.users[r["name"]] = [None if r.get("options", {}).get("no_password") else r["password"], set()]
        self.changed()

    def UserDelete(self, r):
        need(not (self.enabled and r["name"] == ROOT), MANAGEMENT)
        need(self.users.pop(r["name"], None), NO_USER)
        self.changed(r["name"])

    def UserChangePassword(self, r):
        need(r["name"] in self.users, NO_USER)
        if self.users[r["name"]][0] is not None:
            self.users[r["name"]][0] = r["password"] or False  # an empty one is taken as a hash: no password fits it
        self.changed(r["name"])

    def UserGet(self, r):
        need(r["name"] in self.users, NO_USER)

    def UserGrantRole(self, r):
        need(r["user"] in self.users, NO_USER)
        need(r["role"] in self.roles or r["role"] == ROOT, NO_ROLE)
        if r["role"] not in self.users[r["user"]][1]:
            self.users[r["user"]][1].add(r["role"])
            self.changed()

    def UserRevokeRole(self, r):
        need(not (self.enabled and r["name"] == r["role"] == ROOT), MANAGEMENT)
        need(r["name"] in self.users, NO_USER)
        need(r["role"] in self.users[r["name"]][1], "etcdserver: role is not granted to the user")
        self.users[r["name"]][1].remove(r["role"])
        self.changed()

    def RoleAdd(self, r):
        need(r["name"], "etcdserver: role name is empty")
        need(r["name"] not in self.roles, "etcdserver: role name already exists")
        self.roles[r["name"]] = []
        self.changed()

    def RoleGet(self, r):
        need(r["role"] in self.roles, NO_ROLE)

    def RoleDelete(self, r):
        need(not (self.enabled and r["role"] == ROOT), MANAGEMENT)
        need(self.roles.pop(r["role"], None) is not None, NO_ROLE)
        for user in self.users.values():
            user[1].discard(r["role"])
        self.changed()

    def RoleGrantPermission(self, r):
        need("perm" in r, "etcdserver: permission not given")
        added = (r["perm"].get("permType", READ), r["perm"]["key"], r["perm"].get("range_end", b""))
        need(added[1] and (added[2] in (b"", OPEN) or added[1] < added[2]), MANAGEMENT)
        need(r["name"] in self.roles, NO_ROLE)
        perms = self.roles[r["name"]]
        same = [i for i, p in enumerate(perms) if p[1] == added[1]][:1]  # the first of its key alone is looked at
        if same and perms[same[0]][2] == added[2]:
            perms[same[0]] = added
        else:
            self.roles[r["name"]] = sorted([*perms, added], key=lambda p: p[1])
        self.changed()

    def RoleRevokePermission(self, r):
        need(r["role"] in self.roles, NO_ROLE)
        left = [p for p in self.roles[r["role"]] if p[1:] != (r["key"], r.get("range_end", b""))]
        need(len(left) < len(self.roles[r["role"]]), "etcdserver: permission is not granted to the role")
        self.roles[r["role"]] = left
        self.changed()
