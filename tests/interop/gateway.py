#!/usr/bin/env python3
"""The JSON gateway beside a real etcd 3.6: the same requests to both, status, header fields and bodies compared byte for byte
but for the blanks that Go's protojson puts in at random.

    paths      each path with a good body, an empty one and bad ones; methods, old paths, unknown ones; header fields
    random     bodies made from the messages' fields at random, many of them broken, and mutated bytes (--long: 5,000)
    streams    watch, keepalive, snapshot: lines, values in the body, half-closed and cut connections
    large      an answer of many megabytes, read at once and slowly; a large request; deep nesting
    websocket  upgrades good and bad, messages, fragments, pings, closes and violations
    access     CORS, the Host check, OPTIONS, --enable-grpc-gateway=false
    http2      the same over TLS, by HTTP/2 and HTTP/1.1; a certificate with a common name
    metrics    calls through the gateway count as calls of gRPC

What Quoin does not serve yet (a service that is not in its table) is named, and only bad bodies are sent there."""

import base64
import hashlib
import http.client
import json
import pathlib
import random
import re
import socket
import sys
import threading
import time

sys.path.insert(0, str(pathlib.Path(__file__).resolve().parent.parent / "lib"))
from members import Failure, Member, drive, expect, run, seed_of  # noqa: E402

sys.path.insert(0, str(pathlib.Path(__file__).resolve().parent))

SERVICES = {
    "kv": ["range", "put", "deleterange", "txn", "compaction", "lease/revoke", "lease/timetolive", "lease/leases"],
    "lease": ["grant", "revoke", "keepalive", "timetolive", "leases"],
    "cluster/member": ["add", "remove", "update", "list", "promote"],
    "maintenance": ["alarm", "status", "defragment", "hash", "hashkv", "snapshot", "transfer-leadership", "downgrade"],
    "auth": ["enable", "disable", "status", "authenticate", "user/add", "user/get", "user/list", "user/delete", "user/changepw",
             "user/grant", "user/revoke", "role/add", "role/get", "role/list", "role/delete", "role/grant", "role/revoke"],
    "lock": ["lock", "unlock"],
    "election": ["campaign", "proclaim", "leader", "observe", "resign"],
}
PATHS = ["/v3/watch"] + [f"/v3/{service}/{name}" for service, names in SERVICES.items() for name in names]
STREAMS = {"/v3/watch", "/v3/lease/keepalive", "/v3/maintenance/snapshot", "/v3/election/observe"}
# What a good request of a service is asked by that changes nothing.
PROBES = {"auth": "/v3/auth/status", "lock": "/v3/lock/unlock", "election": "/v3/election/leader"}

# Of a member, or of a moment.
MASKED = [(r'"(dbSize|dbSizeInUse|raftIndex|raftAppliedIndex|hash|TTL)":("\d+"|\d+)', r'"\1":N'),
          # Who is first when a deadline is over, the gateway or the server.
          ("stream terminated by RST_STREAM with error code: CANCEL", "context deadline exceeded"),
          (r'"version":"3\.\d+\.\d+"', '"version":V'), ("proto:\u00a0", "proto: ")]


STRING_OR_COMMA = re.compile(r'"(?:[^"\\]|\\.)*"|, ', re.S)


def squeeze(text):
    """Without the blank that may follow a comma outside of strings."""
    return STRING_OR_COMMA.sub(lambda m: "," if m[0] == ", " else m[0], text)


def masked(body):
    text = body.decode("utf-8", "surrogateescape")
    if text.startswith("{"):
        text = "\n".join(squeeze(line) for line in text.split("\n"))
    for pattern, to in MASKED:
        text = re.sub(pattern, to, text)
    return text


class Answer:
    def __init__(self, status, fields, body):
        self.status = status
        self.fields = sorted((k.lower(), "N" if k.lower() == "content-length" else masked(v.encode("latin-1")))
                             for k, v in fields if k.lower() != "date")
        self.raw = body
        self.body = masked(body)

    def __eq__(self, other):
        return (self.status, self.fields, self.body) == (other.status, other.fields, other.body)

    def __str__(self):
        return f"{self.status} {self.fields}\n    {self.body[:600]!r}"


class Client:
    """One kept connection to a member's plain port."""

    def __init__(self, member):
        self.member = member
        self.connection = None

    def ask(self, path, body=b"", method="POST", fields=None):
        for attempt in (0, 1):
            if self.connection is None:
                self.connection = http.client.HTTPConnection("127.0.0.1", self.member.client_port, timeout=20)
            try:
                self.connection.request(method, path, body, fields or {})
                r = self.connection.getresponse()
                answer = Answer(r.status, r.getheaders(), r.read())
                if r.will_close:
                    self.connection = None
                return answer
            except (http.client.HTTPException, ConnectionError):
                self.connection = None
                if attempt:
                    raise
        return None


class Pair:
    def __init__(self, tools, folder, flags=()):
        self.real = Member(folder / "real", flags, constant_identity=True).start(tools.real)
        self.ours = Member(folder / "ours", flags, constant_identity=True).start(tools.ours)
        self.clients = [Client(self.real), Client(self.ours)]
        self.compared = 0
        self.findings = []
        self.missing = [s for s, path in PROBES.items() if self.clients[1].ask(path, b"{}").status == 501]

    def served(self, path):
        return not any(path.startswith(f"/v3/{s}/") for s in self.missing)

    def same(self, path, body=b"", method="POST", fields=None):
        if isinstance(body, str):
            body = body.encode()
        answers = [c.ask(path, body, method, fields) for c in self.clients]
        self.check(f"{method} {path} {fields or ''} {body[:400]!r}", *answers)
        return answers[0]

    def check(self, what, real, ours):
        self.compared += 1
        if real != ours:
            self.findings.append(f"{what}\n  etcd  {real}\n  Quoin {ours}")
            if len(self.findings) >= 20:
                self.verdict()

    def verdict(self):
        expect(not self.findings, f"{len(self.findings)} of {self.compared} answers differ:\n" + "\n".join(self.findings))


def b64(text):
    return base64.b64encode(text.encode() if isinstance(text, str) else text).decode()


# ---- fixed requests -----------------------------------------------------------------------------------------------

BAD = [b"", b" \n ", b"{", b"null", b"[]", b"7", b'"x"', b"true", b"nul", b"v", b"{}x", b"{} {", b"}", b'{"a"', b'{"a":}', b'{"a" 1}', b'{"a":1,}',
       b"[1,]", b'{"\xff":1}', b'{"x":"\xff"}', b'{"x":"\\ud800"}', b'{"x":"\\ud800\\u0041aaaaaa"}', b'{"x":"\x01"}', b'{"x":"\\q"}',
       b'{"x":"\\u12g4"}', b"\xff", b"\xef\xbb\xbf{}", b"'", b"-", b"01", b"1.", b"1e", b"{\"x\":[[[[{}]]]]}", b'{"x":1e400}', b"\0"]

GOOD = [
    ("/v3/kv/put", {"key": b64("foo"), "value": b64("bar")}), ("/v3/kv/put", {"key": b64("foo"), "value": b64("baz"), "prev_kv": True}),
    ("/v3/kv/put", {"key": b64("foo"), "ignore_value": True, "value": b64("x")}), ("/v3/kv/put", {"key": b64("a"), "lease": "77"}),
    ("/v3/kv/put", {"key": b64("a"), "value": ""}), ("/v3/kv/put", {"value": b64("x")}),
    ("/v3/kv/range", {"key": b64("foo")}), ("/v3/kv/range", {"key": b64("a"), "range_end": b64("z"), "sort_order": "DESCEND", "sort_target": "MOD"}),
    ("/v3/kv/range", {"key": b64("a"), "rangeEnd": b64("z"), "countOnly": True}), ("/v3/kv/range", {"key": b64("foo"), "revision": 1000}),
    ("/v3/kv/range", {"key": b64("\0"), "range_end": b64("\0"), "limit": "1", "serializable": True, "sort_order": 9}),
    ("/v3/kv/txn", {"compare": [{"target": "VERSION", "key": b64("foo"), "result": "GREATER", "version": "0"}],
                    "success": [{"request_range": {"key": b64("foo")}}, {"request_put": {"key": b64("t"), "value": b64("1")}}],
                    "failure": [{"requestDeleteRange": {"key": b64("foo")}}]}),
    ("/v3/kv/txn", {"compare": [{"target": 3, "key": b64("foo"), "result": 0, "value": ""}], "failure": [{"request_txn": {"success": [
        {"request_put": {"key": b64("n")}}]}}]}),
    ("/v3/kv/txn", {"success": [{"request_put": {"key": b64("d")}}, {"request_put": {"key": b64("d")}}]}),
    ("/v3/kv/txn", {"success": [{}]}), ("/v3/kv/txn", {"compare": [{}]}), ("/v3/kv/txn", {}),
    ("/v3/kv/deleterange", {"key": b64("t"), "prev_kv": True}), ("/v3/kv/deleterange", {"key": b64("none")}),
    ("/v3/kv/compaction", {"revision": 3}), ("/v3/kv/compaction", {"revision": 3}), ("/v3/kv/compaction", {"revision": 9999}),
    ("/v3/kv/range", {"key": b64("foo"), "revision": 2}),
    ("/v3/lease/grant", {"TTL": 1000, "ID": 5}), ("/v3/lease/grant", {"TTL": 1000, "ID": "5"}), ("/v3/lease/grant", {"TTL": "9999999999999"}),
    ("/v3/lease/timetolive", {"ID": 5, "keys": True}), ("/v3/kv/lease/timetolive", {"ID": 6}), ("/v3/lease/leases", {}), ("/v3/kv/lease/leases", {}),
    ("/v3/kv/lease/revoke", {"ID": 5}), ("/v3/lease/revoke", {"ID": 5}),
    ("/v3/cluster/member/list", {}), ("/v3/cluster/member/list", {"linearizable": True}), ("/v3/cluster/member/remove", {"ID": "1"}),
    ("/v3/cluster/member/add", {"peerURLs": ["nothing"]}), ("/v3/cluster/member/add", {"peerURLs": ["<&>"]}), ("/v3/cluster/member/promote", {"ID": "1"}),
    ("/v3/cluster/member/update", {"ID": 1, "peerURLs": ["http://127.0.0.1:9"]}),
    ("/v3/maintenance/alarm", {}), ("/v3/maintenance/alarm", {"action": "GET", "alarm": "NOSPACE"}), ("/v3/maintenance/status", {}),
    ("/v3/maintenance/hash", {}), ("/v3/maintenance/hashkv", {}), ("/v3/maintenance/hashkv", {"revision": "100000"}),
    ("/v3/maintenance/defragment", {}), ("/v3/maintenance/transfer-leadership", {"targetID": 1}), ("/v3/maintenance/downgrade", {"action": 7}),
    ("/v3/maintenance/downgrade", {"version": "3.5"}), ("/v3/maintenance/downgrade", {"version": "x"}),
    ("/v3/maintenance/downgrade", {"action": "CANCEL"}),
    ("/v3/auth/status", {}), ("/v3/auth/user/list", {}), ("/v3/auth/user/get", {"name": "n"}), ("/v3/auth/role/get", {"role": "r"}),
    ("/v3/auth/role/add", {"name": "r"}), ("/v3/auth/role/list", {}), ("/v3/auth/user/add", {"name": "u", "options": {"no_password": True}}),
    ("/v3/auth/user/grant", {"user": "u", "role": "r"}), ("/v3/auth/user/get", {"name": "u"}), ("/v3/auth/enable", {}), ("/v3/auth/disable", {}),
    ("/v3/auth/role/grant", {"name": "r", "perm": {"permType": "READWRITE", "key": b64("a"), "range_end": b64("b")}}),
    ("/v3/auth/role/get", {"role": "r"}), ("/v3/auth/role/revoke", {"role": "r", "key": b64("a"), "range_end": b64("b")}),
    ("/v3/auth/authenticate", {"name": "u", "password": "p"}), ("/v3/auth/user/revoke", {"name": "u", "role": "r"}),
    ("/v3/auth/user/delete", {"name": "u"}), ("/v3/auth/role/delete", {"role": "r"}), ("/v3/auth/user/changepw", {"name": "u", "password": "p"}),
    ("/v3/lock/lock", {"name": b64("l"), "lease": "4242"}), ("/v3/lock/unlock", {"key": b64("l")}), ("/v3/lock/unlock", {}),
    ("/v3/election/leader", {"name": b64("e")}), ("/v3/election/proclaim", {}), ("/v3/election/resign", {}), ("/v3/election/campaign", {"lease": 4242}),
    ("/v3/election/proclaim", {"leader": {"name": b64("e"), "key": b64("k"), "rev": 1, "lease": 4}, "value": b64("v")}),
]

# Each makes a field of a Range; each is told in its place.
VALUES = ['"Zm9v"', '"Zm8="', '"Zm8"', '"Zg"', '"Z"', '"_-8"', '"-_8="', '"+/8="', '"-/8="', '"Zg=="', '"Zg=" ', '"Zg==Zg=="', '"Zm\\n9v"', '"!!"', '""', "null", "1", "-1",
          "1.0", "1.5", "1e2", "1e-1", "10e-1", "1E+2", "-0", "0.0", '"1"', '"1e1"', '" 1"', '"1 "', '"1\\n"', '"1 x"', '"1x"', '"1}"', '"1e}"', '"1e"', '"1e-"', '"-"', '"+1"', '"0x1"', '"01"',
          '"\\u0031"', '"1\\u00a0"', '"1\\u2003"', '"NaN"', "9223372036854775807", "9223372036854775808", "-9223372036854775808", "-9223372036854775809", "1e18", "1e19", "1e20", "1e21",
          "123456789012345678901", "0.1e1", "100000000000000000000e-2", "1e2147483648", "1e-2147483649", "true", "false", '"true"', "[]", "[1]", "{}", '{"a":1}', '"ASCEND"', '"ascend"',
          '"NOTHING"', "0", "1", "7", "2147483648", "-7", '"\\ud83d\\ude00"', '"\\udc00\\ud800"', '"é"', '"\\/\\b"']
FIELDS = ["key", "limit", "sort_order", "sortTarget", "serializable", "unknown"]

HEADERS = [
    {"Grpc-Timeout": "10S"}, {"Grpc-Timeout": "1x"}, {"Grpc-Timeout": "S"}, {"Grpc-Timeout": "x1S"}, {"Grpc-Timeout": "0S"}, {"Grpc-Timeout": "-1S"},
    {"Grpc-Timeout": "+5S"}, {"Grpc-Timeout": "99999999999999999999S"}, {"Grpc-Timeout": "1.5S"}, {"Authorization": "x"}, {"Authorization": "Bearer x"}, {"Grpc-Metadata-Token": "x"},
    {"Grpc-Metadata-hasleader": "true"}, {"grpc-metadata-client-api-version": "3.5.0"}, {"Grpc-Metadata-client-api-version": "x"}, {"Grpc-Metadata-A-Bin": "AA"},
    {"Grpc-Metadata-A-Bin": "AA=="}, {"Grpc-Metadata-A-Bin": "A"}, {"Grpc-Metadata-A-bin": "!"}, {"grpc-metadata-content-type": "x"}, {"Grpc-Metadata-": "x"},
    {"Grpc-Metadata-A(": "x"}, {"Content-Type": "text/plain"}, {"Content-Type": ""}, {"Accept": "text/html"}, {"Origin": "http://a"}, {"Cookie": "token=x"},
    {"X-HTTP-Method-Override": "GET"}, {"X-HTTP-Method-Override": "GET", "Content-Type": "application/x-www-form-urlencoded"}, {"Connection": "close"},
]


def paths(pair, _args):
    for path, body in GOOD:
        if pair.served(path):
            pair.same(path, json.dumps(body, ensure_ascii=False))
    for path in PATHS:
        for body in BAD:
            # A good empty message is not for those that it would change, or that never end.
            # URLs that are none are refused on purpose (differences.md).
            harmless = path not in STREAMS and pair.served(path) and not re.search(r"defragment|snapshot|lock/lock|campaign|lease/grant|compaction$|member/update", path)
            decodes = re.match(rb"\s*(\{\}|\{\"x\":|$)", body)
            if harmless or (path not in STREAMS and not decodes):
                pair.same(path, body)
        for method in ("GET", "PUT", "DELETE", "HEAD", "OPTIONS", "PATCH"):
            pair.same(path, b"", method)
        pair.same(path + "/", b"{}")
        pair.same(path.replace("/v3/", "/v3beta/"), b"x", "GET")
    for path in ("/v3/", "/v3", "/v3/x", "/v3/kv", "/v3alpha/kv/range", "/v3beta", "/v3beta/", "/v3beta/kv/range", "/v3//kv/range", "/v3/./kv/range", "/v3beta//kv/range",
                 "/v3/kv/../kv/range", "/v3/kv/r%61nge", "/v3/kv%2Frange", "/v3%2Fkv/range", "/v3bet%61/kv/range", "/v3/kv/range?x=y", "/v3/kv/range:x", "/v3/KV/range", "/V3/kv/range",
                 "/v3/kv/range%00"):
        for method in ("POST", "GET"):
            pair.same(path, b'{"key":"Zm9v"}', method)
    for field in FIELDS:
        for value in VALUES:
            lead = "" if field == "key" else '"key":"Zm9v",'
            pair.same("/v3/kv/range", "{" + lead + f' "{field}" : {value} }}')
            pair.same("/v3/kv/txn", '{"success":[\n{"request_range":{' + lead + f'"{field}":{value}}}}}]}}')
    for body in ('{"key":"YQ","key":"YQ"}', '{"key":null,"key":"YQ"}', '{"range_end":"","rangeEnd":""}', '{"[a.b]":1,"key":"YQ"}', '{"":1,"key":"YQ"}', '{"Key":"YQ"}',
                 '{"key":"YQ"}{"key":', '{"key":"YQ"} garbage', '\n\n {"key":\n"é!"}', '{"key":"YQ","é":{"limit":"x"},"limit":"x"}', '{"k\\u0065y":"YQ"}', '{"k\\u0065y":"YQ","key":""}'):
        pair.same("/v3/kv/range", body)
    for body in ('{"success":null}', '{"success":{}}', '{"success":"x"}', '{"success":7}', '{"success":[null]}', '{"success":[[]]}', '{"success":[7]}', '{"success":["x"]}',
                 '{"success":[{"request_range":null,"request_put":{"key":"YQ"}}]}', '{"success":[{"request_range":{"key":"YQ"},"request_put":{"key":"YQ"}}]}',
                 '{"success":[{"request_range":[]}]}', '{"success":[{"request_range":"x"}]}', '{"compare":[{"version":1,"value":"YQ"}]}', '{"compare":[{"target":"X","result":"Y"}]}'):
        pair.same("/v3/kv/txn", body)
    for fields in HEADERS:
        pair.same("/v3/kv/range", b'{"key":"Zm9v"}', fields=fields)
        pair.same("/v3/kv/range", b'{"key":""}', fields=fields)
    pair.verdict()


# ---- random bodies ------------------------------------------------------------------------------------------------

KEY, INT, BOOL, TEXT = "key", "int", "bool", "text"
RANGE = {"key": KEY, "range_end": KEY, "rangeEnd": KEY, "limit": INT, "revision": INT, "sort_order": ["NONE", "ASCEND", "DESCEND"], "sort_target": ["KEY", "VERSION", "CREATE", "MOD", "VALUE"],
         "serializable": BOOL, "keys_only": BOOL, "countOnly": BOOL, "min_mod_revision": INT, "maxCreateRevision": INT}
PUT = {"key": KEY, "value": KEY, "prev_kv": BOOL, "ignore_value": BOOL}
DELETE = {"key": KEY, "range_end": KEY, "prevKv": BOOL}
OPERATION = {"request_range": RANGE, "requestPut": PUT, "request_delete_range": DELETE}
TXN = {"compare": [{"result": ["EQUAL", "GREATER", "LESS", "NOT_EQUAL"], "target": ["VERSION", "CREATE", "MOD", "VALUE", "LEASE"], "key": KEY, "version": INT, "value": KEY, "range_end": KEY}],
       "success": [OPERATION], "failure": [OPERATION]}
OPERATION["request_txn"] = TXN
RANDOM = [("/v3/kv/range", RANGE, 6), ("/v3/kv/put", PUT, 5), ("/v3/kv/deleterange", DELETE, 2), ("/v3/kv/txn", TXN, 6), ("/v3/lease/timetolive", {"ID": INT, "keys": BOOL}, 1),
          ("/v3/lease/keepalive", {"ID": INT}, 2), ("/v3/lease/revoke", {"ID": INT}, 1), ("/v3/maintenance/hashkv", {"revision": INT}, 1), ("/v3/cluster/member/remove", {"ID": INT}, 1),
          ("/v3/cluster/member/list", {"linearizable": BOOL}, 1), ("/v3/auth/user/get", {"name": TEXT}, 1), ("/v3/auth/role/get", {"role": TEXT}, 1)]


class Maker:
    def __init__(self, rng):
        self.rng = rng

    def space(self):
        return self.rng.choice(["", "", "", "", " ", "\n", "\t ", "\r\n"])

    def text(self):
        r = self.rng
        return r.choice(["", "a", "root", "é", "\\n", "\\u00e9", "\\ud83d\\ude00", "x" * r.randrange(40), "<&>", "\\\"", "\u2028"])

    def scalar(self, kind):
        r = self.rng
        if r.random() < 0.06:
            return r.choice(VALUES)
        if isinstance(kind, list):
            name = r.choice(kind)
            return str(kind.index(name)) if r.random() < 0.2 else f'"{name}"'
        if kind == KEY:
            data = r.choice([b"", b"a", b"b", b"foo", b"k%d" % r.randrange(20), r.randbytes(r.randrange(5)), b"\0"])
            text = (base64.b64encode if r.random() < 0.8 else base64.urlsafe_b64encode)(data).decode()
            return '"' + (text.rstrip("=") if r.random() < 0.3 else text) + '"'
        if kind == INT:
            n = r.choice([0, 1, 2, 3, 5, 77, r.randrange(100), -1, 1 << 40])
            return r.choice([str(n), f'"{n}"', f"{n}e0", f"{n}.0"])
        if kind == BOOL:
            return r.choice(["true", "false"])
        return f'"{self.text()}"'

    def junk(self, depth=0):
        r = self.rng
        if depth > 3 or r.random() < 0.5:
            return r.choice(VALUES)
        if r.random() < 0.5:
            return "[" + ",".join(self.junk(depth + 1) for _ in range(r.randrange(4))) + "]"
        return "{" + ",".join(f'"{self.text()}":{self.junk(depth + 1)}' for _ in range(r.randrange(4))) + "}"

    def message(self, fields, depth=0):
        r = self.rng
        names = [n for n in fields if r.random() < (0.35 if len(fields) > 4 else 0.8)]
        if depth > 2:
            names = [n for n in names if n != "request_txn"]
        if fields is OPERATION:
            names = names[:1] if r.random() < 0.95 else names
        if r.random() < 0.03 and names:
            names.append(r.choice(names))
        out = []
        for name in names:
            kind = fields[name]
            if isinstance(kind, dict):
                value = self.message(kind, depth + 1)
            elif isinstance(kind, list) and isinstance(kind[0], dict):
                value = "[" + ",".join(self.message(kind[0], depth + 1) for _ in range(r.randrange(3))) + "]"
            else:
                value = self.scalar(kind)
            if r.random() < 0.02:
                value = self.junk()
            out.append(f'{self.space()}"{name}"{self.space()}:{self.space()}{value}{self.space()}')
        if r.random() < 0.1:
            out.insert(r.randrange(len(out) + 1), f'"{self.text()}x":{self.junk()}')
        return "{" + ",".join(out) + "}"

    def body(self, fields):
        r = self.rng
        text = self.message(fields).encode()
        if r.random() < 0.05:
            text = self.space().encode() + text + r.choice([b"", b" ", b"x", b"{}", b"}"])
        for _ in range(r.choice([0, 0, 0, 0, 1, 1, 2])):
            at = r.randrange(len(text) + 1)
            what = r.randrange(4)
            if what == 0:
                text = text[:at] + text[at + r.randrange(1, 4):]
            elif what == 1:
                text = text[:at] + bytes([r.choice(b'{}[]",:\\ue0-9.\x00\xff\xc3\xa9\n ')]) + text[at:]
            elif what == 2:
                text = text[:at] + r.randbytes(1) + text[at + 1:]
            else:
                text = text[:at]
        return text


def random_bodies(pair, args):
    rng = random.Random(seed_of(args))
    maker = Maker(rng)
    chosen = [(p, f, w) for p, f, w in RANDOM if pair.served(p)]
    for _ in range(args.count or (5000 if args.long else 600)):
        path, fields, _ = rng.choices(chosen, [w for _, _, w in chosen])[0]
        body = maker.body(fields)
        # A key without an end of its own may be deleted, but not all of them: what is there makes answers longer.
        if path == "/v3/lease/keepalive" and rng.random() < 0.5:
            body += rng.choice([b"", b" ", b"\n"]) + maker.body(fields)
        pair.same(path, body)
    pair.verdict()


# ---- streams ------------------------------------------------------------------------------------------------------

def lines_until(member, body, count, change, seconds=10):
    """Opens a watch, calls `change` when it stands, and reads `count` lines."""
    s = socket.create_connection(("127.0.0.1", member.client_port), timeout=seconds)
    s.sendall(b"POST /v3/watch HTTP/1.1\r\nHost: x\r\nContent-Length: %d\r\n\r\n" % len(body) + body)
    r = s.makefile("rb")
    head = []
    while (line := r.readline().strip()) and line:
        head.append(line.decode())
    lines, text = [], b""
    while len(lines) < count:
        size = int(r.readline(), 16)
        text += r.read(size)
        r.readline()
        *done, text = text.split(b"\n")
        for line in done:
            lines.append(masked(line))
            if len(lines) == 1 and change:
                change()
    s.close()
    # The answers to several values come in an order of etcd's own.
    lines = sorted(lines[:count]) if b"progress" in body else lines[:count]
    return head[0], sorted(h.lower() for h in head[1:] if not h.lower().startswith("date")), lines


def streams(pair, _args):
    def both(body, count, change=None):
        for c in pair.clients:
            c.member_lines = lines_until(c.member, body, count, (lambda c=c: change(c)) if change else None)
        pair.check(f"watch {body!r}", *[w.member_lines for w in pair.clients])

    def put(client):
        client.ask("/v3/kv/put", json.dumps({"key": b64("w"), "value": b64("1")}))
        client.ask("/v3/kv/deleterange", json.dumps({"key": b64("w")}))

    create = json.dumps({"create_request": {"key": b64("w"), "prev_kv": True}}).encode()
    both(create, 3, put)
    both(create + b"\n" + json.dumps({"createRequest": {"key": b64("w"), "watch_id": 7, "filters": ["NODELETE", 0]}}).encode(), 4, put)
    both(create + b"v", 3, put)
    both(create + b'{"cancel_request":{"watch_id":"0"}}', 2)
    both(create + b'{"progress_request":{}}', 2)
    both(b'{"create_request":{"key":"dw==","start_revision":1}}', 1)
    both(b'{"create_request":{"key":"dw==","range_end":"dg=="}}{"create_request":{"key":"dw=="}}', 2)
    for body in (b"", b"v", b"{}", create, b'{"create_request":{"key":7}}', create + b'{"create_request":{"watch_id":"x"}}'):
        pair.same("/v3/watch", body, fields={"Grpc-Timeout": "200m"})
    pair.same("/v3/watch", create, fields={"Grpc-Timeout": "-1S"})
    pair.same("/v3/watch", create, fields={"Grpc-Timeout": "x"})
    for body in (b"", b" ", b"v", b"{}", b'{"ID":9}', b'{"ID":9}{"ID":"999"}\n{"ID":1}', b'{"ID":9}{"ID":x}{"ID":1}', b'{"ID":9}{"ID":"x"}{"ID":1}', b'{"ID":1}[]', b"null", b'{"ID":5'):
        pair.same("/v3/lease/keepalive", body)
    # Go's server closes the body when the first bytes of the answer leave; what the handler has read by then, it answers.
    real, ours = (c.ask("/v3/lease/keepalive", b'{"ID":"1"}' * 300).raw.splitlines() for c in pair.clients)
    pair.compared += 1
    expect(len(ours) == 300 and set(real) == set(ours), f"{len(ours)} of 300 renewals were answered: {ours[:2]}, etcd {real[:2]}")
    for body in (b"v", b"[]", b'{"x"'):
        pair.same("/v3/maintenance/snapshot", body)
    for c in pair.clients:
        answer = c.ask("/v3/maintenance/snapshot", b"{}")
        blob = b"".join(base64.b64decode(json.loads(line)["result"].get("blob", "")) for line in answer.raw.decode().splitlines())
        expect(answer.status == 200 and hashlib.sha256(blob[:-32]).digest() == blob[-32:], f"{c.member.folder.name}: the snapshot is damaged")
    # Clients that go, at any moment, and many watches at once.
    for n in range(0, len(create), 3):
        s = socket.create_connection(("127.0.0.1", pair.ours.client_port))
        s.sendall(b"POST /v3/watch HTTP/1.1\r\nHost: x\r\nContent-Length: %d\r\n\r\n" % len(create) + create[:n])
        s.close()
    held = []
    for _ in range(300):
        s = socket.create_connection(("127.0.0.1", pair.ours.client_port), timeout=10)
        s.sendall(b"POST /v3/watch HTTP/1.1\r\nHost: x\r\nContent-Length: %d\r\n\r\n" % len(create) + create)
        held.append(s)
    for s in held:
        data = b""
        while b"created" not in data:
            got = s.recv(4096)
            expect(got, "a watch was closed")
            data += got
    for c in pair.clients:
        put(c)
    for s in held:
        data = b""
        while b'"type":"DELETE"' not in data:
            data += s.recv(4096)
        s.close()
    # A body in pieces, whose end never comes: each value is served as it comes.
    s = socket.create_connection(("127.0.0.1", pair.ours.client_port), timeout=10)
    s.sendall(b"POST /v3/lease/keepalive HTTP/1.1\r\nHost: x\r\nTransfer-Encoding: chunked\r\n\r\n")
    for piece in (b'{"ID"', b':1}', b' {"ID":2', b'}'):
        s.sendall(b"%x\r\n%s\r\n" % (len(piece), piece))
        time.sleep(0.02)
    data = b""
    while b'"ID":"2"' not in data:
        data += s.recv(4096)
    s.close()
    deadline = time.monotonic() + 10
    while (left := gauge(pair.ours, "etcd_debugging_mvcc_watcher_total")) and time.monotonic() < deadline:
        time.sleep(0.05)
    expect(left == 0, f"{left} watchers are left of clients that are gone")
    pair.verdict()


def gauge(member, name):
    text = member._get("/metrics").decode()  # pylint: disable=protected-access
    return sum(float(v) for v in re.findall(rf"^{name}(?:\{{[^}}]*\}})? (\S+)$", text, re.M))


# ---- websocket ----------------------------------------------------------------------------------------------------

def frame(payload, opcode=1, final=True, reserved=0, masked_too=True):
    head = bytes([(0x80 if final else 0) | reserved | opcode])
    bit = 0x80 if masked_too else 0
    n = len(payload)
    head += bytes([bit | n]) if n < 126 else bytes([bit | 126]) + n.to_bytes(2, "big") if n < 65536 else bytes([bit | 127]) + n.to_bytes(8, "big")
    if not masked_too:
        return head + payload
    mask = b"\x01\x80\x7f\xff"
    return head + mask + bytes(b ^ mask[i % 4] for i, b in enumerate(payload))


def websocket_talk(member, path, sent, fields, expected, method="GET"):
    """The head of the answer, then the frames that come: until `expected` of them, or the end."""
    base = {"Host": "x", "Connection": "keep-alive, Upgrade", "Upgrade": "websocket", "Sec-WebSocket-Version": "13",
            "Sec-WebSocket-Key": "dGhlIHNhbXBsZSBub25jZQ=="}
    base.update(fields)
    s = socket.create_connection(("127.0.0.1", member.client_port), timeout=1.5)
    s.sendall((f"{method} {path} HTTP/1.1\r\n" + "".join(f"{k}: {v}\r\n" for k, v in base.items() if v is not None) + "\r\n").encode())
    r = s.makefile("rb")
    head = []
    while (line := r.readline().strip()) and line:
        head.append(line.decode())
    # Hijacked connections carry no Date in Go.
    head = head[:1] + sorted(h.lower() for h in head[1:] if not h.lower().startswith("date"))
    got, begun = [], None
    if "101" in head[0]:
        s.sendall(b"".join(sent))
        try:
            while len(got) < expected and (start := r.read(2)):
                n = start[1] & 127
                n = int.from_bytes(r.read(2), "big") if n == 126 else int.from_bytes(r.read(8), "big") if n == 127 else n
                payload = r.read(n)
                # A message in fragments counts as the one frame it could be. Control frames may stand in between.
                if start[0] & 15 < 8:
                    assert (begun is not None) == (start[0] & 15 == 0), "a fragment out of its place"
                    opcode, payload = (start[0] & 15, payload) if begun is None else (begun[0], begun[1] + payload)
                    begun = None if start[0] & 0x80 else (opcode, payload)
                    if begun:
                        continue
                    start = (start[0] & 0xf0 | opcode, start[1])
                text = payload.hex() if start[0] & 15 == 8 else masked(payload)
                got.append((start[0], text[:4] if start[0] & 15 == 8 else text))
        except ConnectionResetError:
            pass  # the end: Go closes with bytes unread
        except TimeoutError:
            got.append("stays open")
    else:
        got.append(r.read(int(re.search(r"content-length: (\d+)", "\n".join(head)).group(1))))
    s.close()
    return head, got


def websocket(pair, _args):
    def both(path, sent, expected, fields=None, method="GET"):
        answers = [websocket_talk(c.member, path, sent, fields or {}, expected, method) for c in pair.clients]
        # A unary call of etcd 3.6.15 and later first reads the body to its end, which a websocket has none of (differences.md).
        if answers[0][1] == ["stays open"] and len(answers[1][1]) == 1:
            answers[0] = (answers[0][0], answers[1][1])
        pair.check(f"websocket {path} {sent} {fields}", *answers)

    ask, watch, alive = b'{"key":"Zm9v"}', b'{"create_request":{"key":"ZA"}}', b'{"ID":"1"}'
    both("/v3/kv/range", [frame(ask)], 9)
    both("/v3/kv/range", [frame(b"{\"key\""), frame(b":\"Zm9v\"}")], 9)
    both("/v3/kv/range", [frame(b"v")], 9)
    both("/v3beta/lease/keepalive?method=GET", [frame(alive)], 1)
    both("/v3/nothing", [frame(ask)], 9)
    both("/v3/lease/keepalive", [frame(alive, opcode=2)], 1)
    both("/v3/watch", [frame(watch)], 1)
    both("/v3/watch", [frame(watch), frame(b'{"cancel_request":{"watch_id":0}}')], 2)
    both("/v3/watch", [frame(watch[:5], final=False), frame(b"ping", opcode=9), frame(watch[5:], opcode=0)], 2)
    both("/v3/lease/keepalive", [frame(alive), frame(alive + alive)], 3)
    both("/v3/lease/keepalive", [frame(b" " * 70_000 + alive), frame(alive + b" " * 200)], 2)
    # Lines far longer than what is sent at once.
    for size in (40_000, 300_000, 1_000_000):
        pair.same("/v3/kv/put", json.dumps({"key": b64("websocket/large"), "value": b64(bytes(range(250)) * (size // 250))}))
    history = b'{"create_request":{"key":"%s","start_revision":"1"}}' % b64("websocket/large").encode()
    both("/v3/watch", [frame(history[:5], final=False), frame(b"ping", opcode=9), frame(history[5:], opcode=0)], 3)
    for code in (b"", b"\x03\xe8", b"\x03\xe9bye"):
        both("/v3/watch", [frame(code, opcode=8)], 9)
    for broken in (frame(b"x", reserved=0x40), frame(b"x", masked_too=False), frame(b"x", opcode=3), frame(b"x", opcode=0), frame(b"x" * 126, opcode=9), frame(b"x", opcode=9, final=False),
                   frame(b"x", final=False) + frame(b"y"), frame(b"\x00\x01", opcode=8), frame(b"\x03\xe8\xff", opcode=8)):
        both("/v3/watch", [broken], 9)
    for fields in ({"Sec-WebSocket-Protocol": "Bearer, x"}, {"Sec-WebSocket-Protocol": "Bearer,x "}, {"Sec-WebSocket-Protocol": "chat"}, {"Cookie": "a=b; token=x"}, {"Origin": "http://a"},
                   {"Sec-WebSocket-Version": "12"}, {"Sec-WebSocket-Key": None}, {"Connection": "upgrade"}, {"Upgrade": "WebSocket, x"}, {"Sec-WebSocket-Extensions": "permessage-deflate"},
                   {"Grpc-Timeout": "x"}):
        both("/v3/lease/keepalive", [frame(alive)], 1, fields)
    both("/v3/kv/range", [frame(ask)], 9, {"Upgrade": "h2c", "Content-Length": "0"}, "POST")
    both("/v3/kv/range", [frame(ask)], 9, {}, "POST")
    pair.verdict()


# ---- sizes --------------------------------------------------------------------------------------------------------

def large(pair, args):
    value = b64(bytes(range(256)) * 3000)
    for i in range(24 if args.long else 6):
        pair.same("/v3/kv/put", json.dumps({"key": b64(f"large/{i:03}"), "value": value}))
    ask = json.dumps({"key": b64("large/"), "range_end": b64("large0")}).encode()
    pair.same("/v3/kv/range", ask)
    pair.same("/v3/kv/txn", json.dumps({"success": [{"request_range": json.loads(ask)}] * 2}))
    real = pair.clients[0].ask("/v3/kv/range", ask).body
    # Slowly, while others are served.
    s = socket.create_connection(("127.0.0.1", pair.ours.client_port), timeout=20)
    s.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 65536)
    s.sendall(b"POST /v3/kv/range HTTP/1.0\r\nContent-Length: %d\r\n\r\n" % len(ask) + ask)
    data = bytearray()
    while got := s.recv(1 << 18):
        data += got
        if len(data) % 7 == 0:
            pair.clients[1].ask("/v3/kv/range", b'{"key":"Zm9v"}')
    expect(masked(bytes(data).partition(b"\r\n\r\n")[2]) == real, "read slowly, the answer is another")
    # A request beyond what gRPC takes, and beyond what raft takes; one that hardly fits.
    for size in (1_500_000, 1_572_000, 1_572_864, 1_600_000, 2_097_130, 2_097_152, 2_200_000):
        pair.same("/v3/kv/put", json.dumps({"key": b64("huge"), "value": b64(b"x" * size)}))
    pair.same("/v3/kv/range", b'{"x":"' + b"a" * 3_000_000 + b'","key":"Zm9v"}')
    # Nested as deep as Go's JSON allows, and one more. Transactions of more than 100 levels are refused (differences.md).
    for levels in (10, 40, 3334, 5000):
        pair.same("/v3/kv/txn", b'{"success":[{"request_txn":' * levels + b"{}" + b"}]}" * levels)
    for levels in (9_998, 9_999, 10_000, 10_001):
        pair.same("/v3/kv/range", b'{"key":"Zm9v","x":' + b"[" * levels + b"]" * levels + b"}")
        pair.same("/v3/kv/range", b"[" * levels)
    pair.verdict()


# ---- access -------------------------------------------------------------------------------------------------------

def access(tools, folder):
    pair = Pair(tools, folder / "strict", ["--cors", "http://good.example:80", "--host-whitelist", "127.0.0.1,good.example"])
    for fields in ({}, {"Origin": "http://good.example:80"}, {"Origin": "http://bad.example:80"}, {"Host": "good.example"}, {"Host": "good.example:9"}, {"Host": "bad.example"},
                   {"Host": "bad.example:9"}, {"Host": "[::1]:9"}, {"Host": "bad.example", "Origin": "http://good.example:80"}):
        for method, path in (("POST", "/v3/kv/range"), ("OPTIONS", "/v3/kv/range"), ("OPTIONS", "/v3/x"), ("GET", "/v3/kv/range"), ("POST", "/v3//x"), ("POST", "/v3beta/kv/range")):
            pair.same(path, b'{"key":"YQ"}', method, fields)
    pair.verdict()
    off = Pair(tools, folder / "off", ["--enable-grpc-gateway=false"])
    for path in ("/v3/kv/range", "/v3beta/kv/range", "/v3/", "/v3/x", "/health"):
        for method in ("GET", "POST", "OPTIONS"):
            off.same(path, b'{"key":"YQ"}', method)
    off.verdict()
    return pair.compared + off.compared


def http2(tools, folder, args):
    from tls import Authority, Clients, Node, secure  # pylint: disable=import-outside-toplevel
    authority = Authority(folder / "certificates")
    server = authority.pair("server", "server", "IP:127.0.0.1")
    named, nameless = authority.pair("named", "alice", ""), authority.pair("nameless", "", "")
    nodes = []
    clients = Clients(tools, authority)
    compared = 0
    try:
        for name, program in (("real", tools.real), ("ours", tools.ours)):
            nodes.append(Node(program, folder / f"tls-{name}", name, secure(authority, server)))
            nodes[-1].start([nodes[-1]]).wait("ready to serve client requests")
        for version in ("--http2", "--http1.1"):
            for pair in (named, nameless):
                for path, body, *more in (("kv/put", '{"key":"Zm9v","value":"YmFy"}'), ("kv/range", '{"key":"Zm9v"}'), ("kv/range", '{"key":"!!"}'), ("kv/range", ""),
                                          ("x", "{}"), ("lease/keepalive", '{"ID":1}{"ID":2}'), ("lease/keepalive", ""), ("maintenance/snapshot", "v"), ("kv/range", "{}", "-X", "GET"),
                                          ("kv/range", None, "-X", "OPTIONS"), ("kv/range", "{}", "--head"), ("watch", '{"create_request":{"key":"Zm9v"}}', "-H", "Grpc-Timeout: 200m"),
                                          ("watch", "", "-H", "Grpc-Timeout: 200m"), ("kv/range", '{"key":"Zm9v"}', "-H", "Authorization: x")):
                    answers = []
                    data = [] if "--head" in more or body is None else ["--data-binary", body]
                    for node in nodes:
                        for _ in range(4):
                            code, (status, fields, text) = clients.curl(f"{node.url}/v3/{path}", pair, version, *data, *more)
                            if code != 28:  # the machine was too busy for five seconds
                                break
                        fields = [re.sub(r"(?i)^(content-length): .*", r"\1: N", f) for f in fields]
                        text = re.sub(r'"(cluster_id|member_id)":"\d+"', r'"\1":I', masked(text.encode()))
                        answers.append((code, status.strip(), [f for f in fields if not f.lower().startswith("grpc-metadata-")], text))
                    compared += 1
                    expect(answers[0] == answers[1], f"{version} {path} {body} {more}:\n  etcd  {answers[0]}\n  Quoin {answers[1]}")
        compared += random_over_http2(nodes, clients, nameless, args)
    finally:
        for node in nodes:
            node.end()
    return compared


def random_over_http2(nodes, clients, pair, args):
    """Bodies as over HTTP/1.1, many on one connection."""
    rng = random.Random(seed_of(args) + 1)
    maker = Maker(rng)
    count, batch = (1000, 50) if args.long else (100, 50)
    for _ in range(count // batch):
        wanted = []
        for i in range(batch):
            path, fields, _ = rng.choice(RANDOM[:4])
            body = nodes[0].folder.parent / f"body{i}"
            body.write_bytes(maker.body(fields))
            wanted.append((path, body))
        answers = []
        for node in nodes:
            command = ["curl", "-sS", "--http2"]
            for i, (path, body) in enumerate(wanted):
                command += [*(["--next", "-sS", "--http2"] if i else []), "--max-time", "10", *clients.files(pair), "-i", "-w", "\n=====\n", "--data-binary", f"@{body}", node.url + path]
            done = run(command, check=False, text=False, timeout=60)
            answers.append([re.sub(r'"(cluster_id|member_id)":"\d+"', r'"\1":I', masked(part.replace(b"\r", b"").partition(b"\n\n")[2])) + str(part[:11])
                            for part in done.stdout.split(b"\n=====\n")])
        for (path, body), real, ours in zip(wanted, *answers):
            expect(real == ours, f"HTTP/2 {path} {body.read_bytes()!r}:\n  etcd  {real}\n  Quoin {ours}")
    return count


# ---- metrics ------------------------------------------------------------------------------------------------------

def metrics(pair, _args):
    """What calls through the gateway add to the counters of gRPC."""
    def counters(member):
        text = member._get("/metrics").decode()  # pylint: disable=protected-access
        found = re.findall(r"^(grpc_server_(?:started|handled|msg)\w*\{[^}]*\}) (\S+)$", text, re.M)
        # etcd counts the end of a stream as a message received, however it came (its interceptor does not look at errors).
        return {k: float(v) for k, v in found if not ("msg_received" in k and "bidi_stream" in k)}

    before = [counters(c.member) for c in pair.clients]
    for path, body in (("/v3/kv/put", b'{"key":"bQ"}'), ("/v3/kv/range", b'{"key":"bQ"}'), ("/v3/kv/range", b"{}"), ("/v3/kv/range", b"{"), ("/v3/kv/range", b'{"key":"!"}'),
                       ("/v3/lease/keepalive", b'{"ID":1}{"ID":2}'), ("/v3/lease/keepalive", b""), ("/v3/x", b""), ("/v3/lease/revoke", b'{"ID":404}')):
        pair.same(path, body)
    added = []
    for c, old in zip(pair.clients, before):
        added.append({k: v - old.get(k, 0) for k, v in counters(c.member).items() if v != old.get(k, 0)})
    for key in sorted({*added[0], *added[1]}):
        if added[0].get(key) != added[1].get(key):
            pair.findings.append(f"{key}: etcd {added[0].get(key)}, Quoin {added[1].get(key)}")
    pair.verdict()


def main(tools, args, folder):
    compared = 0
    parts = {"paths": paths, "random": random_bodies, "streams": streams, "websocket": websocket, "large": large, "metrics": metrics}
    chosen = args.only or [*parts, "access", "http2"]
    pair = Pair(tools, folder) if any(c in parts for c in chosen) else None
    if pair and pair.missing:
        print(f"not served by Quoin yet: {', '.join(pair.missing)}")
    for name in chosen:
        begin = time.monotonic()
        if name in parts:
            parts[name](pair, args)
        elif name == "access":
            compared += access(tools, folder)
        else:
            compared += http2(tools, folder, args)
        print(f"{name}: {time.monotonic() - begin:.1f} s", flush=True)
    print(f"{compared + (pair.compared if pair else 0)} answers compared")


def arguments(parser):
    parser.add_argument("--only", action="append", help="paths, random, streams, websocket, large, metrics, access or http2")
    parser.add_argument("--seed", type=int)
    parser.add_argument("--count", type=int, help="random bodies")


if __name__ == "__main__":
    drive(main, __doc__, arguments, needs=["oracle-3.6"])
