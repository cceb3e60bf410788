#!/usr/bin/env python3
"""Random requests by users whose roles change under way, at a member under test and at a real etcd 3.6 at the same time:
reads, writes, nested transactions with prev_kv and leases, open ends, leases, watches, users and roles, auth off and on
again. Every answer is compared; a small model of the rules (lib/auth_model.py) says of each request whether it is allowed.

A few times both members are stopped: the buckets of users and roles must then be equal byte for byte (passwords' salts
apart), and hold what the model holds. They go on with another kind of token: simple ones, then JSON web tokens."""

import pathlib
import random
import re
import sys

sys.path.insert(0, str(pathlib.Path(__file__).resolve().parent.parent / "lib"))
from auth_model import BAD_TOKEN, DENIED, EMPTY, LAST, MANAGEMENT, NO_ROLE, NO_USER, OLD, ROOT, Model, interval  # noqa: E402
from members import Failure, drive, expect, seed_of  # noqa: E402
from twin import Login, Pair, Twin, decode, dump  # noqa: E402

FLAGS = ["--bcrypt-cost", "4", "--auth-token-ttl", "86400"]
KEYS = [b"a", b"b", b"c", b"ca", b"d", b"e", b"f", b"k", b"k\0", b"m", b"n", b"z", b"\0", b"\xff", b"\xff\xff"]
OPEN = b"\0"
USERS = ["u1", "u2", "u3", "u4", "u5"]
ROLES = ["r1", "r2", "r3", "r4", "crowd"]
PASSWORDS = ["one", "two", ""]
# What is found wrong before anybody asks who calls.
BEFORE = re.compile("duplicate key given|key is not provided|too many operations|value is provided|lease is provided")
ABOUT_USERS = {BAD_TOKEN, DENIED, EMPTY, MANAGEMENT, NO_ROLE, NO_USER, OLD}
SORTED_STABLY = 12  # permissions of a role; with more of them equal keys change places in a way the model does not know


class Session:
    """A login: the tokens of both members, and the model's."""

    def __init__(self, login, token):
        self.login, self.token = login, token

    def __str__(self):
        return f"{self.login.user} ({'' if self.token.alive else 'dead '}token)"


class Generator:
    """Requests over few keys, users and roles, so that they meet."""

    def __init__(self, seed):
        self.random = random.Random(seed)
        self.chance = lambda percent: self.random.random() * 100 < percent
        self.pick = self.random.choice

    def span(self, open_too=True):
        """A key, or a range that does not end before it begins."""
        key, end = self.pick(KEYS), self.pick(KEYS)
        if self.chance(40):
            return {"key": key}
        if open_too and self.chance(25):
            return {"key": key, "range_end": OPEN}
        return {"key": min(key, end), "range_end": max(key, end)} if key != end and OPEN not in (key, end) else {"key": key}

    def lease(self):
        return self.random.randrange(1, 5) if self.chance(45) else 0

    def range(self):
        r = self.span()
        if self.chance(20):
            r.update(self.pick([{"keys_only": True}, {"count_only": True}, {"limit": 2}, {"sort_order": 2}, {"revision": 100000}]))
        return {**r, "serializable": self.chance(50)}

    def put(self, alone=True):
        r = {"key": self.pick(KEYS), "value": b"%d" % self.random.randrange(1000), "prev_kv": self.chance(30)}
        if alone and self.chance(6):
            return {**r, "ignore_lease": True}
        if alone and self.chance(6):
            return {"key": r["key"], "ignore_value": True, "lease": self.lease()}
        return {**r, "lease": self.lease()}

    def delete(self, open_too=True):
        return {**self.span(open_too), "prev_kv": self.chance(30)}

    def compare(self):
        target, value = self.pick([(0, {"version": 1}), (1, {"create_revision": 0}), (2, {"mod_revision": 9}), (3, {"value": b"5"}), (4, {"lease": 0})])
        return {**self.span(), "target": target, "result": self.random.randrange(4), **value}

    def txn(self, depth, open_deletes):
        # An open-ended delete beside a put of what it deletes is a known fault of etcd: a txn has one or the other.
        def operation():
            kind = self.random.randrange(10)
            if kind < 4:
                return {"request_range": {k: v for k, v in self.range().items() if k != "revision"}}
            if kind < 7 and not open_deletes:
                return {"request_put": self.put(alone=False)}
            if kind < 9 or not depth:
                return {"request_delete_range": self.delete(open_deletes)}
            return {"request_txn": self.txn(depth - 1, open_deletes)}
        sizes = [0, 1, 1, 1, 2, 3]
        return {"compare": [self.compare() for _ in range(self.pick([0, 0, 0, 1, 1, 2]))],
                "success": [operation() for _ in range(self.pick(sizes))], "failure": [operation() for _ in range(self.pick(sizes[:4]))]}

    def permission(self, role):
        if self.chance(3):
            return {"name": role}
        key = self.pick([b"k", b"m"]) if role == "crowd" else self.pick(KEYS[:12])
        end = self.pick([b"", b"", OPEN, OPEN, b"g", b"o", b"zz", *KEYS[:12]]) if role != "crowd" else b"n%02d" % self.random.randrange(40)
        return {"name": role, "perm": {"permType": self.pick([0, 1, 2, 2, 7]), "key": key if not self.chance(2) else b"", "range_end": end}}


class Run:
    def __init__(self, tools, seed, folder):
        self.tools = tools
        self.pair = Pair(tools, folder, FLAGS)
        self.random = Generator(seed)
        self.model = Model()
        self.folder = folder
        self.twin = Twin(tools, self.pair.endpoints)
        self.sessions = []
        self.streams = []  # watch streams: name, watchers
        self.revision = 1
        self.number = 0
        self.wrong = 0
        self.verdicts = {}

    # ---- one request ----

    def do(self, method, request, session=None):
        """A request to both and to the model; returns the answer."""
        self.number += 1
        answer = self.twin.say(f"random/{method}", method, request, session and session.login)
        answer["to"] = [method, request, session]
        self.judge(answer, self.model.judge(method, request, session and session.token))
        if answer["code"] == "OK":
            self.note(method, request, answer["response"])
        return answer

    def judge(self, answer, verdict):
        method, request, session = answer["to"]
        said = answer.get("message", "")
        kind = verdict or "allowed"
        self.verdicts[kind] = self.verdicts.get(kind, 0) + 1
        if BEFORE.search(said):
            return
        about_users = method.startswith("Auth/") or said in ABOUT_USERS
        if (verdict or "") != (said if about_users else ""):
            self.wrong += 1
            if self.wrong <= 20:
                print(f"MODEL request {self.number} {method} {request} by {session or 'nobody'}\n  model {verdict or 'allowed'}\n"
                      f"  both  {answer['code']} {said}", flush=True)

    def note(self, method, r, response):
        """Keys and their leases, as the answer shows them to be now."""
        self.revision = max(self.revision, int(response.get("header", {}).get("revision", 0)))
        model = self.model
        if method == "KV/Put":
            model.keys[r["key"]] = model.keys.get(r["key"], 0) if r.get("ignore_lease") else r.get("lease", 0)
        elif method == "KV/DeleteRange":
            first, last = interval(r["key"], r.get("range_end"))
            model.keys = {k: v for k, v in model.keys.items() if k < first or last != LAST and k >= last}
        elif method == "KV/Txn":
            names = {"request_put": "KV/Put", "request_delete_range": "KV/DeleteRange", "request_txn": "KV/Txn", "request_range": ""}
            for op, done in zip(r["success" if response.get("succeeded") else "failure"], response.get("responses", ())):
                for kind, inner in op.items():
                    self.note(names[kind], inner, done.get("response_txn", {}))
        elif method == "Lease/LeaseGrant":
            model.leases.add(r["ID"])
        elif method == "Lease/LeaseRevoke":
            model.leases.discard(r["ID"])
            model.keys = {k: v for k, v in model.keys.items() if v != r["ID"]}

    # ---- who ----

    def login(self, user, password):
        self.number += 1
        request = {"name": user, "password": password}
        answers = self.twin.call("Auth/Authenticate", request)
        self.twin.compare("random/Auth/Authenticate", "Auth/Authenticate", request, answers)
        answer = {**answers[-1], "to": ["Auth/Authenticate", request, None]}
        self.judge(answer, self.model.judge("Auth/Authenticate", request))
        if any(a["code"] != "OK" for a in answers):
            return None
        session = Session(Login(user, [a["response"]["token"] for a in answers]), self.model.token)
        self.sessions.append(session)
        del self.sessions[:-14]
        return session

    def root(self):
        """Somebody who may do everything; nobody while auth is off."""
        if not self.model.enabled:
            return None
        for s in self.sessions:
            if s.login.user == ROOT and s.token.alive and s.token.revision in (None, self.model.revision):
                return s
        session = self.login(ROOT, self.model.users[ROOT][0])
        if session is None:
            raise Failure("root cannot log in")
        return session

    def somebody(self):
        alive = [s for s in self.sessions if s.token.alive]
        if alive and self.random.chance(88):
            return self.random.pick(alive)
        return self.random.pick(self.sessions) if self.sessions and self.random.chance(60) else None

    def some_login(self):
        user = self.random.pick([*USERS, *USERS, ROOT, "none"])
        password = self.model.users[user][0] if user in self.model.users and self.random.chance(85) else self.random.pick(PASSWORDS)
        self.login(user, password or "")

    def switch_on(self):
        if ROOT in self.model.users and self.model.users[ROOT][0] is None:
            self.do("Auth/UserDelete", {"name": ROOT})
        if ROOT not in self.model.users:
            self.do("Auth/UserAdd", {"name": ROOT, "password": "rootpw"})
        self.do("Auth/UserGrantRole", {"user": ROOT, "role": ROOT})
        self.do("Auth/AuthEnable", {})

    # ---- steps ----

    def key_values(self):
        r, n = self.random, self.random.random.randrange(100)
        who = self.root() if r.chance(12) else self.somebody()
        if n < 30:
            self.do("KV/Range", r.range(), who)
        elif n < 58:
            self.do("KV/Put", r.put(), who)
        elif n < 66:
            self.do("KV/DeleteRange", r.delete(), who)
        else:
            self.do("KV/Txn", r.txn(r.pick([0, 1, 2, 3]), r.chance(15)), who)

    def leases(self):
        r = self.random
        lease, who = r.random.randrange(1, 6), self.somebody()
        n = r.random.randrange(100)
        if n < 35:
            self.do("Lease/LeaseGrant", {"ID": lease, "TTL": 5000}, who)
        elif n < 45:
            self.do("Lease/LeaseRevoke", {"ID": lease}, who)
        elif n < 70:
            self.do("Lease/LeaseTimeToLive", {"ID": lease, "keys": r.chance(70)}, who)
        elif n < 80:
            self.do("Lease/LeaseLeases", {}, who)
        else:
            self.number += 1
            stream = self.twin.open("Lease/LeaseKeepAlive", who and who.login)
            self.twin.send(stream, {"ID": lease})
            answers = self.twin.read(stream)
            self.twin.compare("random/Lease/LeaseKeepAlive", "Lease/LeaseKeepAlive", f"{lease} by {who}", answers)
            self.twin.close(stream)
            end = answers[-1].get("end", {"code": "OK"})
            self.judge({**end, "to": ["Lease/LeaseKeepAlive", {"ID": lease}, who]},
                       self.model.judge("Lease/LeaseKeepAlive", {"ID": lease}, who and who.token))

    def watch(self):
        r = self.random
        if len(self.streams) < 6 or r.chance(30):
            who = self.somebody()
            self.streams.append([self.twin.open("Watch/Watch", who and who.login), 0, who])
            if len(self.streams) > 6:
                self.twin.close(self.streams.pop(0)[0])
        entry = r.pick(self.streams)
        stream, _, who = entry
        request = {**r.span(), "prev_kv": r.chance(40)}
        if r.chance(30):
            request["start_revision"] = max(1, self.revision - r.random.randrange(5))
        self.settle()  # what comes next is the answer
        self.number += 1
        self.twin.send(stream, {"create_request": request})
        answers = self.twin.read(stream)
        self.twin.compare("random/Watch/create", "Watch/Watch", f"{request} by {who}", answers)
        if not answers[-1].get("messages"):
            raise Failure(f"request {self.number}: a watch was not answered: {answers}")
        created = answers[-1]["messages"][0]
        said = re.sub("^rpc error: code = [A-Za-z]+ desc = ", "", created.get("cancel_reason", ""))
        self.judge({"code": "", "message": said, "to": ["Watch/Watch", request, who]},
                   self.model.judge("Watch/Watch", request, who and who.token))
        if not created.get("canceled"):
            entry[1] += 1
        self.settle()

    def settle(self):
        """All that the watchers must have been told by now."""
        for stream, watchers, who in self.streams:
            if watchers:
                self.twin.compare("random/Watch/events", "Watch/Watch", f"up to {self.revision}, watchers of {who}",
                                  self.twin.settle(stream, [self.revision] * len(self.twin.names)))

    def users(self):
        r = self.random
        who = self.root() if r.chance(75) else self.somebody()
        names = USERS if self.model.enabled else [*USERS, ROOT]
        user, role = r.pick(names), r.pick(ROLES)
        n = r.random.randrange(100)
        if n < 12:
            options = {"options": {"no_password": True}} if r.chance(10) else {}
            self.do("Auth/UserAdd", {"name": user if not r.chance(3) else "", "password": r.pick(PASSWORDS), **options}, who)
        elif n < 15:
            self.do("Auth/UserDelete", {"name": r.pick([*USERS, ROOT, "none"])}, who)
        elif n < 21:
            name = r.pick([user, user, "none", ROOT])  # without a password of root nobody could go on
            self.do("Auth/UserChangePassword", {"name": name, "password": r.pick(PASSWORDS[:2] if name == ROOT else PASSWORDS)}, who)
        elif n < 40:
            self.do("Auth/UserGrantRole", {"user": user, "role": r.pick([role, role, role, role, ROOT, "none"])}, who)
        elif n < 46:
            self.do("Auth/UserRevokeRole", {"name": r.pick([user, user, ROOT]), "role": r.pick([role, role, ROOT])}, who)
        elif n < 54:
            self.do("Auth/RoleAdd", {"name": role if not r.chance(3) else ""}, who)
        elif n < 56:
            self.do("Auth/RoleDelete", {"role": r.pick([role, ROOT])}, who)
        elif n < 78:
            self.do("Auth/RoleGrantPermission", r.permission(role), who)
            self.learn_order(role)
        elif n < 85:
            perms = self.model.roles.get(role)
            known = r.pick(perms)[1:] if perms and r.chance(80) else (b"a", b"zz")
            self.do("Auth/RoleRevokePermission", {"role": role, "key": known[0], "range_end": known[1]}, who)
            self.learn_order(role)
        elif n < 90:
            self.do("Auth/UserGet", {"name": r.pick([user, "none", who.login.user if who else user])}, who)
        elif n < 95:
            self.do("Auth/RoleGet", {"role": r.pick([role, ROOT, "none"])}, who)
        else:
            self.do(r.pick(["Auth/UserList", "Auth/RoleList", "Auth/AuthStatus", "Auth/AuthEnable"] if self.model.enabled else ["Auth/UserList"]), {}, who)

    def learn_order(self, role):
        if len(self.model.roles.get(role, ())) > SORTED_STABLY:
            answer = self.do("Auth/RoleGet", {"role": role}, self.root())
            self.model.roles[role] = [(p.get("permType", 0), decode(p.get("key")), decode(p.get("range_end"))) for p in answer["response"]["perm"]]

    def administration(self):
        r = self.random
        method, request = r.pick([
            ("KV/Compact", {"revision": 1000000}), ("KV/Compact", {"revision": self.revision - 200}), ("Cluster/MemberList", {"linearizable": True}),
            ("Cluster/MemberRemove", {"ID": 7}), ("Cluster/MemberPromote", {"ID": 7}), ("Maintenance/Status", {}), ("Maintenance/Alarm", {}),
            ("Maintenance/Alarm", {"action": 2, "memberID": 9, "alarm": 1}), ("Maintenance/HashKV", {}), ("Maintenance/MoveLeader", {"targetID": 7}),
            ("Maintenance/Downgrade", {"action": 0, "version": "3.5.0"}), ("Maintenance/Defragment", {})])
        self.do(method, request, self.somebody())

    def step(self):
        r, n = self.random, self.random.random.randrange(1000)
        if not self.model.enabled and r.chance(6):
            self.switch_on()
        elif self.model.enabled and (n < (150 if self.model.jwt else 60) or not self.sessions):
            self.some_login()
        elif n < 620:
            self.key_values()
        elif n < 730:
            self.leases()
        elif n < 760:
            self.watch()
        elif n < 960:
            self.users()
        elif n < 990:
            self.administration()
        elif n < 993:
            self.do("Auth/AuthDisable", {}, self.root() if r.chance(60) else self.somebody())
        else:
            self.check()

    def check(self):
        root = self.root()
        answer = self.do("Auth/AuthStatus", {}, root)
        expect(int(answer["response"]["authRevision"]) == self.model.revision,
               f"request {self.number}: the auth revision is {answer['response']['authRevision']}, the model's {self.model.revision}")
        self.do("Maintenance/HashKV", {}, root)
        self.do("KV/Range", {"key": OPEN, "range_end": OPEN}, root)
        self.settle()

    # ---- on disk ----

    def compare_disks(self):
        """Both members are stopped: the same bytes, which are what the model has."""
        sides = [dump(self.tools, m, "auth", "authUsers", "authRoles", "lease") for m in self.pair.members.values()]
        for key in sorted({*sides[0], *sides[-1]}):
            values = [s.get(key) for s in sides]
            if values[0] != values[-1]:
                self.twin.differences.append(key)
                print(f"DIFFERENCE auth/disk {key}\n" + "\n".join(f"  {n:<5} {v!r}" for n, v in zip(self.twin.names, values)), flush=True)
        disk = sides[-1]
        expect({k.decode() for b, k in disk if b == "authUsers"} == set(self.model.users), f"users {disk}\nmodel {self.model.users}")
        expect({k.decode() for b, k in disk if b == "authRoles"} == set(self.model.roles), f"roles {disk}\nmodel {self.model.roles}")
        expect(int.from_bytes(disk["auth", b"authRevision"], "big") == self.model.revision, f"auth revision {disk}")

    def restart(self, jwt):
        self.settle()
        for stream, _, _ in self.streams:
            self.twin.close(stream)
        self.streams = []
        token = f"jwt,sign-method=HS256,priv-key={self.folder / 'secret'},ttl=24h" if jwt else "simple"
        self.pair.restart([*FLAGS, "--auth-token", token], between=self.compare_disks)
        for token in self.model.tokens:
            token.alive = token.alive and self.model.jwt and jwt  # simple ones are in memory only
        self.model.jwt = jwt
        self.model.tokens = [t for t in self.model.tokens if t.alive]
        self.check()


def main(tools, args, folder):
    seed = seed_of(args)
    requests = args.requests or (20000 if args.long else 1500)
    (folder / "secret").write_bytes(b"a secret of more than thirty-two bytes")
    r = Run(tools, seed, folder)
    for user in USERS:
        r.do("Auth/UserAdd", {"name": user, "password": "one"})
    for role in ROLES:
        r.do("Auth/RoleAdd", {"name": role})
        for _ in range(3):
            r.do("Auth/RoleGrantPermission", r.random.permission(role))
    for user in USERS[1:]:  # the first has no rights at the start
        for role in r.random.random.sample(ROLES, 2):
            r.do("Auth/UserGrantRole", {"user": user, "role": role})
    for lease in range(1, 5):
        r.do("Lease/LeaseGrant", {"ID": lease, "TTL": 5000})
    for i, key in enumerate(KEYS):
        r.do("KV/Put", {"key": key, "value": b"at the start", "lease": i % 5})
    r.switch_on()
    parts = max(3, requests // 700)
    try:
        for part in range(parts):
            if part:
                r.restart(jwt=part % 2 == 1)
            while r.number < requests * (part + 1) // parts and len(r.twin.differences) + r.wrong < 30:
                r.step()
        r.check()
    except Failure as e:
        raise Failure(f"seed {seed}, request {r.number}: {e}") from None
    r.pair.stop()
    r.compare_disks()
    print(f"{r.number} requests; the model said " + ", ".join(f"{n} × {v.split(': ')[-1]}" for v, n in sorted(r.verdicts.items(), key=lambda i: -i[1])))
    expect(not r.wrong, f"seed {seed}: the model is of another opinion {r.wrong} times")
    r.twin.finish()


def arguments(parser):
    parser.add_argument("--requests", type=int, help="how many (default 1500, with --long 20000)")
    parser.add_argument("--seed", type=int)


if __name__ == "__main__":
    drive(main, __doc__, arguments, needs=("interop", "oracle-3.6"))
