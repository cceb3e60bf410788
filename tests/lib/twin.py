"""The same calls to several members, answers compared (tests/go/interop/twin.go makes them).

    twin = Twin(tools, {"ours": ours.endpoint, "real": real.endpoint})
    root = twin.login("root", "secret")
    twin.say("a put", "KV/Put", {"key": b"a", "value": b"1"}, root)
    twin.finish()

Requests and answers are dicts with the names of the .proto files; bytes are bytes in requests and base64 in answers.
Differences are collected; finish() fails if there are any and shows both answers of each. What differs on purpose
stands in differences.md as - `auth/LABEL`: reason."""

import base64
import json
import pathlib
import re
import subprocess
import sys

sys.path.insert(0, str(pathlib.Path(__file__).resolve().parent))
from members import DIFFERENCES, Failure, Member, die_with_parent, run  # noqa: E402

SIMPLE_TOKEN = re.compile(r"[a-zA-Z]{16}\.\d+")
# How two members of equal content may differ: clocks, sizes of files, numbers of raft entries.
MASKED = ("raft_term", "raftTerm", "raftIndex", "raftAppliedIndex", "dbSize", "dbSizeInUse", "dbSizeQuota", "version", "storageVersion")
SHOWN = 30


def encode(value):
    """A request as protojson has it."""
    if isinstance(value, bytes):
        return base64.b64encode(value).decode()
    if isinstance(value, dict):
        return {k: encode(v) for k, v in value.items() if not k.startswith("_")}
    if isinstance(value, (list, tuple)):
        return [encode(v) for v in value]
    return value


def decode(text):
    """Bytes of an answer."""
    return base64.b64decode(text or "")


def masked(method, value, also=()):
    """An answer without what may differ."""
    if isinstance(value, list):
        return [masked(method, v, also) for v in value]
    if not isinstance(value, dict):
        return value
    out = {k: masked(method, v, also) for k, v in value.items() if k not in MASKED and k not in also}
    if method == "Auth/Authenticate" and "token" in out:
        token = out["token"]
        out["token"] = "simple" if SIMPLE_TOKEN.fullmatch(token) else f"of {token.count('.') + 1} parts"
    elif method == "Lease/LeaseTimeToLive" and "grantedTTL" in out:
        # Whole seconds that are left, of leases granted a moment apart.
        out["TTL"] = "some" if int(out.get("TTL", 0)) > 0 else "none"
        out["keys"] = sorted(out.get("keys", []))
    elif method == "Lease/LeaseLeases" and "leases" in out:
        out["leases"] = sorted(out["leases"], key=json.dumps)
    elif method == "Auth/UserGet" and "roles" in out:
        out["roles"] = sorted(out["roles"])
    elif method == "Watch/Watch" and "messages" in out:
        # Between two watchers of a stream there is no order.
        out["messages"] = sorted(out["messages"], key=lambda m: int(m.get("watch_id", 0)))
    elif method == "Maintenance/Hash" and "hash" in out:
        out["hash"] = "salted"  # the passwords' salts are part of it
    elif method == "Maintenance/Snapshot" and "blob" in out:
        out = {"blob": "some"}
    return out


class Login:
    """Who calls: a token for each member."""

    def __init__(self, user, tokens):
        self.user, self.tokens = user, tokens

    def swapped(self):
        """The same with the members' tokens exchanged."""
        return Login(self.user, self.tokens[::-1])

    def changed(self, change):
        return Login(self.user, [change(t) for t in self.tokens])


class Twin:
    def __init__(self, tools, members, tls=None, also_masked=()):
        """`tls`: paths (authority, certificate, key) or (authority,)."""
        self.also_masked = also_masked
        self.child = subprocess.Popen([str(tools.interop), "twin"], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True,
                                      bufsize=1 << 16, preexec_fn=die_with_parent)
        self.names = []
        self.calls = 0
        self.differences, self.expected = [], 0
        self.known = set(re.findall(r"(?m)^- `auth/([^`]+)`: ", DIFFERENCES.read_text()))
        self.opened = 0
        for name, endpoint in members.items():
            self.dial(name, endpoint, tls)
            self.names.append(name)

    def ask(self, do, **fields):
        self.child.stdin.write(json.dumps({"Do": do, **fields}) + "\n")
        self.child.stdin.flush()
        line = self.child.stdout.readline()
        if not line:
            raise Failure(f"the client program ended at {do} {fields}")
        said = json.loads(line)
        if said["failed"]:
            raise Failure(said["failed"])
        return said["answers"]

    def dial(self, name, endpoint, tls=None):
        files = dict(zip(("CA", "Cert", "Key"), map(str, tls or ())))
        self.ask("dial", Name=name, Endpoint=endpoint, **files)

    def meta(self, who, meta, to):
        """One map for each member. `meta` may hold lists: one value for each of all members."""
        out = []
        for name in to:
            i = self.names.index(name)
            one = {k: v if isinstance(v, str) else v[i] for k, v in (meta or {}).items()}
            if who is not None:
                one["token"] = who.tokens[i]
            out.append(one)
        return out

    def call(self, method, request=None, who=None, meta=None, millis=0, to=None):
        """What each member answers: dicts with code, message, response."""
        self.calls += 1
        to = to or self.names
        return self.ask("call", To=to, Method=method, Request=encode(request or {}), Meta=self.meta(who, meta, to), Millis=millis)

    def compare(self, label, method, asked, answers):
        """True if all are alike."""
        first, *others = (masked(method, a, self.also_masked) for a in answers)
        if all(first == o for o in others):
            return True
        if label in self.known:
            self.expected += 1
            return False
        shown = "\n".join(f"  {n:<5} {json.dumps(a)[:1500]}" for n, a in zip(self.names, answers))
        self.differences.append(f"auth/{label}\n  {method} {asked}\n{shown}")
        if len(self.differences) <= SHOWN:
            print("DIFFERENCE", self.differences[-1], flush=True)
        return False

    def say(self, label, method, request=None, who=None, meta=None, millis=0, again=0):
        """A call whose answers must be alike; returns that of the last member, the real one. `again`: how often it is made
        again if a member had no processor for so long that its own time for it was over."""
        answers = self.call(method, request, who, meta, millis)
        while again > 0 and any("request timed out" in a.get("message", "") for a in answers):
            again -= 1
            answers = self.call(method, request, who, meta, millis)
        self.compare(label, method, f"{request or {}} by {who.user if who else 'nobody'}" + (f" with {meta}" if meta else ""), answers)
        return answers[-1]

    def must(self, method, request=None, who=None):
        """A call that every member must answer well."""
        answers = self.call(method, request, who)
        bad = [(n, a) for n, a in zip(self.names, answers) if a["code"] != "OK"]
        if bad:
            raise Failure(f"{method} {request} by {who.user if who else 'nobody'}: {bad}")
        return [a["response"] for a in answers]

    def login(self, user, password):
        return Login(user, [r["token"] for r in self.must("Auth/Authenticate", {"name": user, "password": password})])

    # ---- streams ----

    def open(self, method, who=None, request=None, meta=None, name=None):
        self.opened += 1
        name = name or f"s{self.opened}"
        self.ask("open", Name=name, To=self.names, Method=method, Request=encode(request or {}), Meta=self.meta(who, meta, self.names))
        return name

    def send(self, stream, request):
        self.ask("send", Name=stream, Request=encode(request))

    def read(self, stream, count=1, millis=10000):
        """For each member a dict: messages, and end (code, message) if the stream is over."""
        return self.ask("read", Name=stream, Count=count, Millis=millis)

    def settle(self, stream, revisions, millis=15000):
        return self.ask("settle", Name=stream, Revisions=revisions, Millis=millis)

    def close(self, stream):
        self.ask("close", Name=stream)

    def converse(self, label, method, requests, who=None, meta=None, count=1, millis=10000):
        """A stream of its own: each request's answers are read before the next is sent."""
        stream = self.open(method, who, requests[0], meta)
        client_streams = method in ("Watch/Watch", "Lease/LeaseKeepAlive")
        for i, request in enumerate(requests if client_streams else requests[:1]):
            self.calls += 1
            if client_streams:
                self.send(stream, request)
            asked = f"{request} by {who.user if who else 'nobody'}" + (f" with {meta}" if meta else "")
            self.compare(f"{label} {i}" if i else label, method, asked, self.read(stream, count, millis))
        self.close(stream)

    def end(self):
        self.child.stdin.close()
        self.child.wait(30)

    def finish(self):
        self.end()
        if self.expected:
            print(f"{self.expected} known differences")
        if self.differences:
            raise Failure(f"{len(self.differences)} differences in {self.calls} calls")
        print(f"{self.calls} calls, answers alike", flush=True)


class Pair:
    """A fresh member under test and a real one with equal IDs."""

    def __init__(self, tools, folder, flags):
        self.programs = {"ours": tools.ours, "real": tools.real}
        self.members = {name: Member(folder / name, flags, constant_identity=True) for name in self.programs}
        self.start()

    def start(self, ready=None):
        for name, member in self.members.items():
            member.start(self.programs[name], wait=False)
        if ready:
            ready()
            return
        for member in self.members.values():
            member.wait_ready()

    def restart(self, flags, kill=False, between=None, ready=None):
        """`between` is called while both are down, `ready` waits until they serve (default: until they say so)."""
        for member in self.members.values():
            (member.kill if kill else member.stop)()
            member.flags = flags
        if between:
            between()
        self.start(ready)

    def stop(self):
        for member in self.members.values():
            member.stop()

    @property
    def endpoints(self):
        return {name: member.endpoint for name, member in self.members.items()}


def dump(tools, member, *buckets, salts=False):
    """The records of buckets of a stopped member, {(bucket, key): value}; without `salts`, the salted part of passwords
    is masked."""
    out = {}
    for line in run([tools.oracle, "bbolt-dump", member.database, *buckets]).stdout.splitlines():
        bucket, key, value = line.split(" ")
        value = bytes.fromhex(value)
        if not salts:
            value = re.sub(rb"(\$2[aby]\$\d\d\$)[./A-Za-z0-9]{53}", rb"\1" + b"*" * 53, value)
        out[bucket, bytes.fromhex(key)] = value
    return out
