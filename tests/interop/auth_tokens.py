#!/usr/bin/env python3
"""Who calls: tokens good and bad, and the names in certificates, at a member under test and at a real etcd 3.6 at the same
time; answers are compared.

    simple  forged, cut short, of users who are gone, after a new password, a switch, a restart; Bearer; token and authorization
    expiry  a token that is used lives on, one that is not ends
    jwt     all thirteen methods: each program takes the other's tokens; no signature, another method, a public key as a secret,
            claims that are missing, late, early or of another kind; a member that can only verify
    names   the name in a client's certificate, beside a token, of nobody, empty; with auth off"""

import base64
import hashlib
import hmac
import json
import pathlib
import sys
import time
import urllib.error
import urllib.request

sys.path.insert(0, str(pathlib.Path(__file__).resolve().parent.parent / "lib"))
sys.path.insert(0, str(pathlib.Path(__file__).resolve().parent))
from members import drive, expect, run  # noqa: E402
from tls import Authority, Node, secure  # noqa: E402
from twin import Login, Pair, Twin  # noqa: E402

FLAGS = ["--bcrypt-cost", "4", "--heartbeat-interval", "10", "--election-timeout", "100"]
OPEN = b"\0"
USERS = {"root": "root", "ann": "all", "bob": "some"}  # name: role
HANGS_MILLIS = 300


def found(twin):
    """Three users, auth on."""
    for role, perm in (("all", {"permType": 2, "key": OPEN, "range_end": OPEN}), ("some", {"permType": 0, "key": b"a"})):
        twin.must("Auth/RoleAdd", {"name": role})
        twin.must("Auth/RoleGrantPermission", {"name": role, "perm": perm})
    for user, role in USERS.items():
        twin.must("Auth/UserAdd", {"name": user, "password": f"pw-{user}"})
        twin.must("Auth/UserGrantRole", {"user": user, "role": role})
    twin.must("KV/Put", {"key": b"a", "value": b"1"})
    twin.must("Lease/LeaseGrant", {"ID": 7, "TTL": 1000})
    twin.must("KV/Put", {"key": b"l", "value": b"1", "lease": 7})
    twin.must("Auth/AuthEnable")
    return twin.login("root", "pw-root")


def probe(twin, label, who=None, meta=None):
    """What a caller may do: calls of each way a token is looked at."""
    for name, method, request in (
            ("read", "KV/Range", {"key": b"a"}), ("serializable read", "KV/Range", {"key": b"a", "serializable": True}),
            ("put", "KV/Put", {"key": b"p", "value": b"1"}), ("empty txn", "KV/Txn", {}), ("users", "Auth/UserList", {}),
            ("oneself", "Auth/UserGet", {"name": "bob"}), ("status", "Auth/AuthStatus", {}), ("members", "Cluster/MemberList", {}),
            ("lease", "Lease/LeaseTimeToLive", {"ID": 7, "keys": True}), ("leases", "Lease/LeaseLeases", {}), ("no lease", "Lease/LeaseRevoke", {"ID": 9}),
            ("hash", "Maintenance/HashKV", {}), ("login", "Auth/Authenticate", {"name": "bob", "password": "pw-bob"})):
        twin.say(f"{label}: {name}", method, request, who, meta, again=5)
    twin.converse(f"{label}: watch", "Watch/Watch", [{"create_request": {"key": b"a"}}], who, meta)
    twin.converse(f"{label}: keep alive", "Lease/LeaseKeepAlive", [{"ID": 7}], who, meta)


def hangs(twin, label, who):
    """A token of an entry that the log does not have yet is waited for, as long as the caller waits."""
    answers = twin.call("KV/Range", {"key": b"a"}, who, millis=HANGS_MILLIS)
    twin.compare(label, "KV/Range", who.tokens, [{"code": a["code"]} for a in answers])


def simple(tools, pair, twin, root):
    ann = twin.login("ann", "pw-ann")
    # A token holds the index before its entry: members compute it alone and must agree.
    twin.must("Maintenance/Status", {}, root)
    for status, token in zip(twin.must("Maintenance/Status", {}, root), ann.tokens):
        expect(int(token.split(".")[1]) == int(status["raftAppliedIndex"]) - 1, f"{token} at index {status['raftAppliedIndex']}")
    good = {"ann": ann, "nobody": None}
    for name, who in good.items():
        probe(twin, f"simple {name}", who)

    bad = {
        "letters reversed": lambda t: t.split(".")[0][::-1] + "." + t.split(".")[1], "of another member": None,
        "without its last digit": lambda t: t[:-1], "without its first letter": lambda t: t[1:], "letters alone": lambda t: t.split(".")[0],
        "digits alone": lambda t: t.split(".")[1], "without letters": lambda t: "." + t.split(".")[1], "two dots": lambda t: t + ".1",
        "a dot at the end": lambda t: t + ".", "no number": lambda t: t.split(".")[0] + ".x", "index 0": lambda t: t.split(".")[0] + ".0",
        "a leading zero": lambda t: t.replace(".", ".0"), "a plus": lambda t: t.replace(".", ".+"), "a minus": lambda t: t.replace(".", ".-"),
        "a number of 30 digits": lambda t: t.split(".")[0] + "." + "9" * 30, "a dot": lambda t: ".", "a blank": lambda t: " ",
        "lower case": str.lower, "20,000 letters": lambda t: "a" * 20000 + "." + t.split(".")[1], "a blank inside": lambda t: t.replace(".", ". "),
        "like JSON": lambda t: "a.b.c", "hexadecimal": lambda t: t.replace(".", ".0x")}
    for name, change in bad.items():
        probe(twin, f"simple, {name}", ann.changed(change) if change else ann.swapped())
    hangs(twin, "simple, an index to come", ann.changed(lambda t: t.split(".")[0] + ".1000000"))
    hangs(twin, "simple, the greatest index", ann.changed(lambda t: t.split(".")[0] + f".{2**64 - 1}"))

    tokens, wrong = ann.tokens, ["x.1"] * 2
    for name, meta in {
            "authorization": {"authorization": tokens}, "authorization with Bearer": {"authorization": [f"Bearer {t}" for t in tokens]},
            "token with Bearer": {"token": [f"Bearer {t}" for t in tokens]}, "bearer in lower case": {"token": [f"bearer {t}" for t in tokens]},
            "Bearer with two blanks": {"token": [f"Bearer  {t}" for t in tokens]}, "Bearer twice": {"token": [f"Bearer Bearer {t}" for t in tokens]},
            "Bearer and nothing": {"token": ["Bearer"] * 2}, "an empty token hides authorization": {"token": [""] * 2, "authorization": tokens},
            "a bad token before a good authorization": {"token": wrong, "authorization": tokens},
            "a good token before a bad authorization": {"token": tokens, "authorization": wrong},
            "an empty token": {"token": [""] * 2}, "an empty authorization": {"authorization": [""] * 2}, "Basic": {"authorization": ["Basic YTpi"] * 2},
            "as from the gateway": {"token": tokens, "grpcgateway-accept": ["x"] * 2}}.items():
        probe(twin, f"simple, {name}", None, meta)

    second = twin.login("ann", "pw-ann")
    probe(twin, "simple, the first of two", ann)
    twin.must("Auth/UserRevokeRole", {"name": "ann", "role": "all"}, root)
    probe(twin, "simple, after a role is gone", second)
    twin.must("Auth/UserGrantRole", {"user": "ann", "role": "all"}, root)
    twin.must("Auth/UserChangePassword", {"name": "bob", "password": "pw-bob"}, root)
    probe(twin, "simple, after another's new password", ann)
    twin.must("Auth/UserChangePassword", {"name": "ann", "password": "next"}, root)
    probe(twin, "simple, after a new password", ann)
    probe(twin, "simple, both after a new password", second)
    ann = twin.login("ann", "next")
    probe(twin, "simple, a new one", ann)
    twin.must("Auth/UserDelete", {"name": "ann"}, root)
    probe(twin, "simple, of who is gone", ann)
    twin.must("Auth/UserAdd", {"name": "ann", "password": "pw-ann"}, root)
    twin.must("Auth/UserGrantRole", {"user": "ann", "role": "all"}, root)
    probe(twin, "simple, of who is back", ann)
    ann = twin.login("ann", "pw-ann")
    twin.must("Auth/AuthDisable", {}, root)
    probe(twin, "simple, auth off", ann)
    probe(twin, "no token, auth off", ann.changed(lambda t: "nonsense"))
    twin.must("Auth/AuthEnable")
    probe(twin, "simple, of before the switch", ann)
    root, ann = twin.login("root", "pw-root"), twin.login("ann", "pw-ann")
    twin.must("Auth/AuthEnable", {}, root)
    probe(twin, "simple, enabled twice", ann)
    pair.restart([*FLAGS, "--auth-token-ttl", "3"])
    probe(twin, "simple, of before a restart", ann)
    print("simple tokens compared", flush=True)


def expiry(twin):
    ann, idle = twin.login("ann", "pw-ann"), twin.login("bob", "pw-bob")
    began = last = time.monotonic()
    longest = 0
    while time.monotonic() - began < 4.5:
        answer = twin.call("KV/Range", {"key": b"a"}, ann)
        longest, last = max(longest, time.monotonic() - last), time.monotonic()
        # A machine that was busy for two seconds may have made any member miss it.
        if longest < 2:
            twin.compare("a token in use", "KV/Range", "ann", answer)
            expect(answer[-1]["code"] == "OK", f"a token in use has ended: {answer}")
        time.sleep(0.3)
    probe(twin, "an idle token", idle)
    time.sleep(5)
    probe(twin, "a token that was in use", ann)
    expect(twin.call("KV/Range", {"key": b"a"}, ann)[-1]["code"] == "Unauthenticated", "a token did not end")
    print("expiry compared", flush=True)


# ---- JSON web tokens ----

def b64(raw):
    return base64.urlsafe_b64encode(raw if isinstance(raw, bytes) else json.dumps(raw).encode()).rstrip(b"=").decode()


def unb64(text):
    return base64.urlsafe_b64decode(text + "=" * (-len(text) % 4))


class Keys:
    """Keys for every method, and tokens signed with them."""

    METHODS = [f"{kind}{bits}" for kind in ("HS", "RS", "PS", "ES") for bits in (256, 384, 512)] + ["EdDSA"]

    def __init__(self, folder):
        self.folder = folder
        folder.mkdir(parents=True)
        (folder / "secret").write_bytes(b"\x00\xffa secret that is long enough for each of them, of sixty-four and more bytes")
        self.openssl("genrsa", "-out", folder / "rsa.pem", "2048")
        for bits, curve in ((256, "prime256v1"), (384, "secp384r1"), (512, "secp521r1")):
            self.openssl("ecparam", "-genkey", "-noout", "-name", curve, "-out", folder / f"ec{bits}.pem")
        self.openssl("genpkey", "-algorithm", "ed25519", "-out", folder / "ed.pem")
        for private in [*folder.glob("*.pem")]:
            self.openssl("pkey", "-in", private, "-pubout", "-out", private.with_suffix(".pub"))

    def openssl(self, *args):
        done = run(["openssl", *args], check=False, text=False)
        expect(done.returncode == 0, f"openssl {args}: {done.stderr}")
        return done.stdout

    def private(self, method):
        return self.folder / {"HS": "secret", "RS": "rsa.pem", "PS": "rsa.pem", "ES": f"ec{method[2:]}.pem", "Ed": "ed.pem"}[method[:2]]

    def option(self, method, private=True, ttl="5m"):
        key = self.private(method)
        parts = [f"sign-method={method}"]
        if private:
            parts.append(f"priv-key={key}")
        if not method.startswith("HS"):
            parts.append(f"pub-key={key.with_suffix('.pub')}")
        return ["--auth-token", ",".join(["jwt", *parts, f"ttl={ttl}"])]

    def sign(self, method, claims, header=None, secret=None):
        text = f"{b64(header or {'alg': method, 'typ': 'JWT'})}.{b64(claims)}"
        if method == "none":
            return text + "."
        bits, file = method[2:], self.folder / "text"
        if method.startswith("HS"):
            secret = (self.folder / "secret").read_bytes() if secret is None else secret
            return f"{text}.{b64(hmac.new(secret, text.encode(), getattr(hashlib, 'sha' + bits)).digest())}"
        file.write_bytes(text.encode())
        if method == "EdDSA":
            return f"{text}.{b64(self.openssl('pkeyutl', '-sign', '-inkey', self.private(method), '-rawin', '-in', file))}"
        more = ["-sigopt", "rsa_padding_mode:pss", "-sigopt", "rsa_pss_saltlen:-1"] if method.startswith("PS") else []
        made = self.openssl("dgst", f"-sha{bits}", "-sign", self.private(method), *more, file)
        if method.startswith("ES"):
            size = (int(bits if bits != "512" else 521) + 7) // 8
            at = 2 if made[1] < 128 else 3
            r_end = at + 2 + made[at + 1]
            r, s = (int.from_bytes(part, "big").to_bytes(size, "big") for part in (made[at + 2:r_end], made[r_end + 2:]))
            made = r + s
        return f"{text}.{b64(made)}"


def broken(keys, method, revision):
    """Tokens that are not as they should be, for a member of this method: name, token."""
    now = int(time.time())
    claims = {"username": "ann", "revision": revision, "exp": now + 300}
    yield "signed outside", keys.sign(method, claims)
    yield "of none", keys.sign("none", claims, {"alg": "none", "typ": "JWT"})
    yield "of None", keys.sign("none", claims, {"alg": "None", "typ": "JWT"})
    yield "of none, signed", keys.sign(method, claims, {"alg": "none", "typ": "JWT"})
    yield "without its signature", keys.sign(method, claims).rsplit(".", 1)[0] + "."
    yield "without the third part", keys.sign(method, claims).rsplit(".", 1)[0]
    for other in ("HS256", "HS512", "RS256", "RS384", "PS256", "ES256", "EdDSA"):
        if other != method:
            yield f"of {other}", keys.sign(other, claims)
            yield f"named {method}, of {other}", keys.sign(other, claims, {"alg": method, "typ": "JWT"})
            yield f"named {other}, of {method}", keys.sign(method, claims, {"alg": other, "typ": "JWT"})
    if not method.startswith("HS"):
        public = keys.private(method).with_suffix(".pub")
        for secret in (public.read_bytes(), public.read_bytes().rstrip(b"\n")):
            yield f"the public key as a secret ({len(secret)})", keys.sign("HS256", claims, secret=secret)
            yield f"the public key as a secret, named {method} ({len(secret)})", keys.sign("HS256", claims, {"alg": method, "typ": "JWT"}, secret=secret)
    if method not in ("HS256", "RS256"):
        return
    for name, changes in {
            "late": {"exp": now - 10}, "without an end": {"exp": None}, "an end of text": {"exp": "tomorrow"}, "an end in parts": {"exp": now + 300.5},
            "an end of 0": {"exp": 0}, "not yet": {"nbf": now + 1000}, "since": {"nbf": now - 10}, "made tomorrow": {"iat": now + 100000},
            "nobody's": {"username": None}, "of an empty name": {"username": ""}, "of an unknown user": {"username": "zoe"}, "of root": {"username": "root"},
            "a number for a name": {"username": 5}, "without a revision": {"revision": None}, "revision as text": {"revision": str(revision)},
            "revision in parts": {"revision": revision + 0.5}, "revision 0": {"revision": 0}, "an old revision": {"revision": revision - 1},
            "a revision to come": {"revision": revision + 1}, "a negative revision": {"revision": -1}, "a great revision": {"revision": 2**53},
            "more claims": {"aud": "x", "iss": "y", "sub": "z", "other": {"a": [1]}}}.items():
        yield name, keys.sign(method, {k: v for k, v in {**claims, **changes}.items() if v is not None})
    good = keys.sign(method, claims)
    head, body, tail = good.split(".")
    yield "padded", f"{head}={'.'}{body}.{tail}"
    yield "another name put in", f"{head}.{b64({**claims, 'username': 'root'})}.{tail}"
    yield "a fourth part", good + ".x"
    yield "no base64", f"{head}.{body}.{tail[:-2]}!!"
    yield "cut short", good[:-4]
    yield "no JSON in front", keys.sign(method, claims, b"{alg")
    yield "no JSON inside", keys.sign(method, b"{username")
    yield "a list inside", keys.sign(method, b"[1]")
    yield "no method named", keys.sign(method, claims, {"typ": "JWT"})
    yield "method in lower case", keys.sign(method, claims, {"alg": method.lower(), "typ": "JWT"})
    yield "another type", keys.sign(method, claims, {"alg": method, "typ": "X"})
    yield "no type", keys.sign(method, claims, {"alg": method})
    yield "critical header", keys.sign(method, claims, {"alg": method, "typ": "JWT", "crit": ["x"]})
    yield "a key of its own", keys.sign(method, claims, {"alg": method, "typ": "JWT", "jwk": {"kty": "oct", "k": "AA"}, "kid": "../../x"})
    yield "Bearer", "Bearer " + good
    yield "blanks around", " " + good
    yield "a simple one", "abcdefghijklmnop.5"


def page(member, path):
    try:
        with urllib.request.urlopen(member.url + path, timeout=10) as r:
            code, body = r.status, r.read()
    except urllib.error.HTTPError as e:
        code, body = e.code, e.read()
    return {"code": code, "lines": sorted(body.decode().splitlines())}  # etcd walks a map to write them


def jwt(pair, twin, keys):
    for method in keys.METHODS:
        pair.restart([*FLAGS, *keys.option(method)], kill=True)
        ann, root = twin.login("ann", "pw-ann"), twin.login("root", "pw-root")
        heads, bodies = zip(*[[json.loads(unb64(part)) for part in t.split(".")[:2]] for t in ann.tokens])
        expect(heads[0] == heads[1], f"{method}: headers {heads}")
        # Both were made within one call.
        expect(bodies[0].keys() == bodies[1].keys() and all(abs(bodies[0][k] - bodies[1][k]) <= 60 for k in bodies[0] if k != "username") and
               bodies[0]["revision"] == bodies[1]["revision"], f"{method}: claims {bodies}")
        probe(twin, f"{method}", ann)
        probe(twin, f"{method}, the other program's", ann.swapped())
        for name, token in broken(keys, method, bodies[1]["revision"]):
            who = Login(f"ann, {method} {name}", [token] * 2)
            if name == "a negative revision":  # only who has the secret can make it; see differences.md
                twin.say(name, "KV/Range", {"key": b"a"}, who, again=5)
            elif method in ("HS256", "RS256"):
                probe(twin, f"{method} {name}", who)
            else:
                twin.say(f"{method} {name}", "KV/Range", {"key": b"a"}, who, again=5)
        twin.must("Auth/UserChangePassword", {"name": "bob", "password": "pw-bob"}, root)
        for user, who in (("ann", ann), ("root", root)):
            probe(twin, f"{method}, of before a change, {user}", who)
    def ready():
        # A member that makes no tokens cannot ask itself whether it is ready, and says it is not.
        deadline = time.monotonic() + 60
        while any("user name is empty" not in a.get("message", "") for a in twin.call("KV/Put", {"key": b"x"}, millis=2000)):
            expect(time.monotonic() < deadline, "no put is refused")
            time.sleep(0.05)
        for path in ("health", "readyz", "livez"):
            twin.compare(f"{path} without tokens", "GET", path, [page(m, "/" + path) for m in pair.members.values()])

    # A member that has only the public key takes tokens and makes none.
    pair.restart([*FLAGS, *keys.option("RS256", private=False)], kill=True, ready=ready)
    revision = 10**6
    for name, user in (("ann", "ann"), ("root", "root")):
        token = keys.sign("RS256", {"username": user, "revision": revision, "exp": int(time.time()) + 300})
        who = Login(user, [token] * 2)
        probe(twin, f"verify only, {name}", who)
    # It cannot make the token it would need to end a lease.
    twin.must("Lease/LeaseGrant", {"ID": 8, "TTL": 1}, who)
    time.sleep(4)
    answers = twin.call("Lease/LeaseTimeToLive", {"ID": 8}, who)
    twin.compare("a lease that ends where no tokens are made", "Lease/LeaseTimeToLive", "8", [{"there": "grantedTTL" in a["response"]} for a in answers])
    pair.restart([*FLAGS, *keys.option("HS256", ttl="1s")], kill=True)
    ann = twin.login("ann", "pw-ann")
    time.sleep(2.5)
    probe(twin, "a lifetime of one second", ann)
    pair.restart([*FLAGS, "--auth-token", ""], kill=True, ready=ready)
    probe(twin, "no tokens", ann)
    probe(twin, "no tokens, nobody")
    print(f"{len(keys.METHODS)} methods of JSON web tokens compared", flush=True)


# ---- certificates ----

def names(tools, folder):
    authority = Authority(folder / "pki")
    server = authority.pair("server", "server", "IP:127.0.0.1")
    nodes = {}
    for name, program in (("ours", tools.ours), ("real", tools.real)):
        node = Node(program, folder / name, "m1", [*secure(authority, server), *FLAGS])
        nodes[name] = node.start([node])
    for node in nodes.values():
        node.wait("ready to serve client requests")
    twins = {}
    for user in ("root", "ann", "bob", "stranger", ""):
        pair = authority.pair(f"c-{user}", user, "DNS:client")
        twins[user] = Twin(tools, {name: f"127.0.0.1:{node.client}" for name, node in nodes.items()},
                           (authority.path("ca.pem"), *pair), also_masked=("member_id", "cluster_id", "members", "leader"))
    root = found(twins["root"])
    ann = twins["root"].login("ann", "pw-ann")
    bob = twins["root"].login("bob", "pw-bob")

    def lists(when):
        for user, twin in twins.items():
            name = f"{when}, certificate of {user or 'an empty name'}"
            probe(twin, name)
            for label, who in (("ann", ann), ("bob", bob), ("root", root), ("nonsense", ann.changed(lambda t: "nonsense"))):
                probe(twin, f"{name}, token of {label}", who)
            for label, meta in (("an empty token", {"token": ""}), ("an empty authorization", {"authorization": ""}),
                                ("authorization", {"authorization": ann.tokens}), ("bad authorization", {"authorization": "x"}),
                                ("as from the gateway", {"grpcgateway-accept": "x"}), ("a token as from the gateway", {"grpcgateway-accept": "x", "token": ann.tokens})):
                probe(twin, f"{name}, {label}", None, meta)
    lists("auth on")
    twins["root"].must("Auth/UserDelete", {"name": "ann"})
    probe(twins["ann"], "certificate of who is gone")
    twins["root"].must("Auth/UserAdd", {"name": "ann", "options": {"no_password": True}})
    twins["root"].must("Auth/UserGrantRole", {"user": "ann", "role": "all"})
    probe(twins["ann"], "certificate of who has no password")
    twins["ann"].say("login of who has no password", "Auth/Authenticate", {"name": "ann", "password": ""})
    twins["root"].must("Auth/AuthDisable")
    lists("auth off")
    for node in nodes.values():
        node.end()
    for twin in twins.values():
        twin.finish()
    print("names in certificates compared", flush=True)


def main(tools, args, folder):
    parts = args.part or ["simple", "expiry", "jwt", "names"]
    if parts != ["names"]:
        pair = Pair(tools, folder, [*FLAGS, "--auth-token-ttl", "3"] if "simple" not in parts else FLAGS)
        twin = Twin(tools, pair.endpoints)
        root = found(twin)
        if "simple" in parts:
            simple(tools, pair, twin, root)
        if "expiry" in parts:
            expiry(twin)
        if "jwt" in parts:
            jwt(pair, twin, Keys(folder / "keys"))
        pair.stop()
        twin.finish()
    if "names" in parts:
        names(tools, folder / "names")


def arguments(parser):
    parser.add_argument("--part", action="append", choices=["simple", "expiry", "jwt", "names"])


if __name__ == "__main__":
    drive(main, __doc__, arguments, needs=("interop", "oracle-3.6"))
