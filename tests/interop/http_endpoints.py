#!/usr/bin/env python3
"""The HTTP side of the client port and of the peer port, beside a real etcd 3.6: /health, /livez, /readyz and /version
with their variants, and what members ask each other, byte for byte; of /metrics the families, types, label names and label values that are not numbers of this
process, after the same requests to both. What only one side has is listed."""

import http.client
import json
import pathlib
import re
import subprocess
import sys
import time

sys.path.insert(0, str(pathlib.Path(__file__).resolve().parent.parent / "lib"))
from members import DIFFERENCES, Failure, Member, drive  # noqa: E402

FLAGS = ["--metrics", "extensive"]

CHECKS = [
    ("GET", "/health"), ("GET", "/health?serializable=true"), ("GET", "/health?serializable=True"),
    ("GET", "/health?exclude=NOSPACE"), ("GET", "/health?exclude=x&exclude=NOSPACE"), ("POST", "/health"), ("HEAD", "/health"),
    ("OPTIONS", "/health"), ("GET", "/health/"), ("PUT", "/health"),
    ("GET", "/livez"), ("GET", "/livez?verbose"), ("GET", "/livez/serializable_read"), ("GET", "/livez/serializable_read?verbose=1"),
    ("GET", "/livez/nothing"), ("GET", "/livez?exclude=serializable_read&verbose"), ("POST", "/livez"),
    ("GET", "/readyz"), ("GET", "/readyz?verbose"), ("GET", "/readyz/data_corruption"), ("GET", "/readyz/serializable_read"),
    ("GET", "/readyz/linearizable_read"), ("GET", "/readyz/non_learner"), ("GET", "/readyz/non_learner?verbose"),
    ("GET", "/readyz?exclude=non_learner&exclude=linearizable_read&verbose=true"), ("GET", "/readyz?exclude=unknown"), ("HEAD", "/readyz"),
    ("GET", "/version"), ("POST", "/version"), ("HEAD", "/version"), ("OPTIONS", "/version"),
    ("GET", "/"), ("GET", "/nothing"), ("GET", "/config/local/log"), ("GET", "/v2/keys/x"), ("GET", "/raft"), ("GET", "/members"),
]

# The peer listener's, without the peer protocol.
PEER_CHECKS = [
    ("GET", "/version"), ("POST", "/version"), ("GET", "/members"), ("POST", "/members"), ("GET", "/members/"),
    ("GET", "/downgrade/enabled"), ("PUT", "/downgrade/enabled"), ("GET", "/"), ("GET", "/health"), ("GET", "/metrics"), ("OPTIONS", "/version"),
    ("HEAD", "/members"), ("GET", "/members/promote/5"), ("POST", "/members/promote"), ("GET", "/members/promote"), ("POST", "/members/promote/"),
    ("POST", "/members/promote/x"), ("POST", "/members/promote/+5"), ("POST", "/members/promote/5/6"), ("POST", "/members/promote/5"),
    ("POST", "/members/promote/%35"), ("POST", "/members/promote/18446744073709551615"), ("POST", "/members/promote/18446744073709551616"),
    ("POST", "/members/promote/5?x=y"), ("POST", "/members/hashkv"), ("GET", "/members/hashkv/"), ("GET", "/members/hashkv"),
    ("GET", "/members/hashkv", b"{}"), ("GET", "/members/hashkv", b"null"), ("GET", "/members/hashkv", b'{"revision":1}'),
    ("GET", "/members/hashkv", b'{"Revision":0,"x":[{}]}'), ("GET", "/members/hashkv", b'{"revision":null}'), ("GET", "/members/hashkv", b'{"revision":1000}'),
    ("GET", "/members/hashkv", b'{"revision":-3}'), ("GET", "/members/hashkv", b'{"revision":1.0}'), ("GET", "/members/hashkv", b'{"revision":"1"}'),
    ("GET", "/members/hashkv", b'{"revision":9223372036854775808}'), ("GET", "/members/hashkv", b"[]"), ("GET", "/members/hashkv", b"{}x"),
    ("GET", "/members/hashkv", b"{}", {"X-Etcd-Cluster-ID": "1"}), ("PUT", "/members/hashkv", b"{}", {"X-Etcd-Cluster-ID": "1"}),
    ("POST", "/leases"), ("GET", "/leases"), ("POST", "/leases/"), ("POST", "/leases/x"), ("POST", "/leases", b"\x08\x05"), ("POST", "/leases", b"\x0b"),
    ("POST", "/leases", b"\x08"), ("POST", "/leases", b"\0" * 65537), ("POST", "/leases", b"\x12" + b"\xfd\xff\x03" + b"\0" * 65533),
    ("PUT", "/leases/internal"), ("POST", "/leases/internal", b"\x0a\x02\x08\x05"), ("POST", "/leases/internal", b"\x0a\x00"),
    ("POST", "/leases/internal", b"\x0a\x05"), ("POST", "/leases/internal", b"\0" * 65537), ("POST", "/leases/internal/"),
]

# Headers that tell the time or are the connection's own affair.
IGNORED_HEADERS = {"date"}

# Values that are not what was asked of the member: why the two differ without either being wrong.
NOT_COMPARED = {
    r"go_|process_|promhttp_|os_|quoin_": "of the process and its runtime",
    r"etcd_disk_|etcd_snap": "when and how often a member writes is its own affair",
    r"etcd_mvcc_db_|etcd_debugging_mvcc_db_": "sizes of files",
    r"etcd_network_|etcd_server_(proposals_committed|proposals_applied|heartbeat|slow_|read_indexes|id|version|go_version)":
        "follow the clock, or name the process",
    r"etcd_debugging_disk_|etcd_debugging_store_|etcd_debugging_snap": "the same of older names",
    r"etcd_debugging_mvcc_(slow_watcher|pending_events)_total": "of a moment",
    r"etcd_debugging_auth_|etcd_debugging_server_lease_expired": "of a moment",
}
SILENT = re.compile("|".join(NOT_COMPARED))
# There or not, by whether a member that is added and removed at once was tried before it went.
OF_A_RACE = ["etcd_network_peer_sent_failures_total"]

# Label values that name this process, not what it does.
OWN_VALUES = {"server_id", "server_go_version", "version", "Local", "Remote"}


def ask(member, method, path, body=None, fields=None, port=None):
    c = http.client.HTTPConnection("127.0.0.1", port or member.client_port, timeout=20)
    try:
        c.request(method, path, body, fields or {})
        r = c.getresponse()
        body = r.read().decode("utf-8", "replace")
        headers = sorted(f"{k}: {v}" for k, v in r.getheaders() if k.lower() not in IGNORED_HEADERS)
    finally:
        c.close()
    if r.status == 413:
        headers = [h for h in headers if h != "Connection: close"]  # Go reads nothing more; here the rest is thrown away
    if path == "/version" and r.status == 200 and body:
        shown = json.loads(body)
        shown.pop("quoin-version", None)  # meant: the program's own version beside the one it stands for
        headers = [h for h in headers if not h.lower().startswith("content-length")]
        body = json.dumps(shown)
    if "verbose" in path:
        # The order of the checks is not fixed.
        body = "\n".join(sorted(body.split("\n")))
    return f"{r.status} {headers} {body!r}"


def varint(value):
    value %= 1 << 64
    out = b""
    while value > 127:
        out += bytes([value & 127 | 128])
        value >>= 7
    return out + bytes([value])


def members_in_one_order(answer):
    """A list of members without what depends on the id of one: its place in the list, and the list's length."""
    answer = re.sub(r"Content-Length: \d+", "Content-Length: N", answer)
    return re.sub(r"(?<=\[)\{.*\}(?=\])", lambda m: ",".join(sorted(re.split(r"(?<=\}),(?=\{)", m.group(0)))), answer)


def peers_day(tools, member):
    """What members ask each other about members and leases that are there. Ids are told as `ID`."""
    ctl = [tools.oracle, "etcdctl", "--endpoints", member.endpoint]
    said = []

    def do(*command):
        done = subprocess.run([*map(str, ctl), *map(str, command)], text=True, capture_output=True, timeout=60, check=False)
        return done.stdout + done.stderr

    def post(name, path, body=None, method="POST", **replaced):
        answer = ask(member, method, path, body, None, member.peer_port)
        for text in replaced.values():
            answer = answer.replace(text, "ID")
        said.append((name, answer))

    for i in range(5):
        do("put", f"k{i}", "value")
    post("hash of revision 3", "/members/hashkv", b'{"revision":3}', "GET")
    post("hash of all", "/members/hashkv", b"{}", "GET")
    do("compact", "4")
    post("hash after a compaction", "/members/hashkv", b"{}", "GET")
    post("hash of a compacted revision", "/members/hashkv", b'{"revision":2}', "GET")

    lease = re.search(r"lease ([0-9a-f]+) granted", do("lease", "grant", "1000")).group(1)
    lease_id = int(lease, 16)
    do("put", "leased", "v", f"--lease={lease}")
    do("put", "also", "v", f"--lease={lease}")
    tag = repr(varint(lease_id).decode("utf-8", "replace"))[1:-1]
    post("renewal", "/leases", b"\x08" + varint(lease_id), id=tag)
    question = b"\x08" + varint(lease_id)
    post("times", "/leases/internal", b"\x0a" + varint(len(question)) + question, id=tag)
    question += b"\x10\x01"
    said.append(("times with keys", sorted(ask(member, "POST", "/leases/internal", b"\x0a" + varint(len(question)) + question, None,
                                               member.peer_port).replace(tag, "ID"))))  # the keys in any order
    do("lease", "revoke", lease)
    post("renewal of a revoked lease", "/leases", b"\x08" + varint(lease_id), id=tag)

    added = do("member", "add", "l", "--learner", "--peer-urls=http://127.0.0.1:3")
    learner = re.search(r"Member\s+([0-9a-f]+) added", added).group(1)
    decimal = str(int(learner, 16))
    post("members", "/members", None, "GET", id=decimal)
    said[-1] = ("members", members_in_one_order(said[-1][1]))
    post("promotion of one that has not caught up", f"/members/promote/{decimal}", id=decimal)
    do("member", "remove", learner)
    post("promotion of one that was removed", f"/members/promote/{decimal}", id=decimal)
    self_id = re.search(r'"id":(\d+)', ask(member, "GET", "/members", None, None, member.peer_port)).group(1)
    post("promotion of a voter", f"/members/promote/{self_id}", id=self_id)
    return said


def vars_of(member):
    """/debug/vars without what is of this process: names, and raft's state but for its indexes."""
    c = http.client.HTTPConnection("127.0.0.1", member.client_port, timeout=20)
    c.request("GET", "/debug/vars")
    r = c.getresponse()
    shown = json.loads(r.read())
    content_type = r.getheader("content-type")
    c.close()
    raft = {k: "*" if k in ("commit", "applied", "term") else v for k, v in shown["raft.status"].items()}
    for p in raft["progress"].values():
        p.update(match="*", next="*")
    return content_type, sorted(shown), shown["file_descriptor_limit"], raft


def scrape(member, before=None):
    """Content type and {family: (type, {series})}; a series is its suffix, its labels, and, where it counts, what it
    counted since `before`, an earlier scrape."""
    old = {(family, suffix, pairs): value for family, (_, series) in (before or {}).items() for suffix, pairs, value in series}
    c = http.client.HTTPConnection("127.0.0.1", member.client_port, timeout=20)
    c.request("GET", "/metrics")
    r = c.getresponse()
    text = r.read().decode()
    content_type = r.getheader("content-type")
    c.close()
    families = {}
    kind = {}
    helps = set()
    label = re.compile(r'([A-Za-z_]+)="((?:[^"\\]|\\.)*)"')
    previous = ""
    for line in text.splitlines():
        if line.startswith("# HELP "):
            helps.add(line.split()[2])
            continue
        if line.startswith("# TYPE "):
            _, _, name, t = line.split()
            if name <= previous:
                raise Failure(f"/metrics is not sorted: {name} after {previous}")
            if name not in helps:
                raise Failure(f"/metrics: {name} has no HELP")
            previous = name
            kind[name] = t
            families[name] = (t, set())
            continue
        m = re.match(r"([A-Za-z_:][A-Za-z0-9_:]*)(?:\{(.*)\})? (\S+)$", line)
        if not m:
            raise Failure(f"/metrics: unreadable line {line!r}")
        name, labels, value = m.groups()
        value = float(value)
        family = name
        if family not in kind:
            family = re.sub(r"_(bucket|sum|count)$", "", name)
        if family not in kind:
            raise Failure(f"/metrics: {name} belongs to no family")
        pairs = tuple((k, "*" if k in OWN_VALUES else v) for k, v in label.findall(labels or ""))
        if ("grpc_method", "RangeStream") in pairs:
            continue  # served beyond what a 3.6 has, so counted too (see differences.md)
        if ("grpc_method", "LeaseKeepAlive") in pairs and name.startswith(
                ("grpc_server_handled", "grpc_server_handling", "grpc_server_msg_received")):
            continue  # what a stream that its client leaves has sent and ends as (see differences.md)
        suffix = name[len(family):]
        if counted(name, family, kind[family]):
            value -= old.get((family, suffix, pairs), 0)
        else:
            value = None
        families[family][1].add((suffix, pairs, value))
    return content_type, families


def counted(name, family, kind):
    """Of a histogram, how often it was told something; not what."""
    if SILENT.match(family) and not family.startswith("etcd_network_client_grpc_received"):
        return False
    return kind != "histogram" or name.endswith("_count")


def known():
    return set(re.findall(r"(?m)^- `([^`]+)`: ", DIFFERENCES.read_text()))


def compare_metrics(ours, real, before, report):
    content_a, a = scrape(ours, before[0])
    content_b, b = scrape(real, before[1])
    if content_a != content_b:
        report("http/metrics content type", f"ours {content_a}, real {content_b}")
    for name in OF_A_RACE:
        a.pop(name, None)
        b.pop(name, None)
    for name in sorted(set(b) - set(a)):
        report(f"metrics/missing/{name}", f"the real one has {name} ({b[name][0]})")
    for name in sorted(n for n in set(a) - set(b) if not n.startswith("quoin_")):  # the program's own
        report(f"metrics/extra/{name}", f"ours has {name} ({a[name][0]})")
    for name in sorted(set(a) & set(b)):
        if a[name][0] != b[name][0]:
            report(f"metrics/type/{name}", f"ours {a[name][0]}, real {b[name][0]}")
        # Sizes of what Go's collector does are its own.
        if a[name][1] != b[name][1] and a[name][0] != "summary":
            only_a, only_b = sorted(a[name][1] - b[name][1]), sorted(b[name][1] - a[name][1])
            report(f"metrics/series/{name}", f"only ours {only_a[:4]} ({len(only_a)}), only real {only_b[:4]} ({len(only_b)})")


def day(tools, member, folder):
    """Every RPC, well and refused; commands that fail are part of it."""
    ctl = [tools.oracle, "etcdctl", "--endpoints", member.endpoint]

    def do(*command, stdin=None):
        subprocess.run([*map(str, ctl), *map(str, command)], input=stdin, text=True, capture_output=True, timeout=60, check=False)

    do("put", "a", "1")
    do("put", "a", "2", "--prev-kv")
    do("put", "b", "x" * 1000)
    do("put", "b", "--ignore-value", "--lease=4d2")  # no such lease
    do("put", "none", "--ignore-value")
    do("get", "a")
    do("get", "a", "--consistency=s")
    do("get", "", "--prefix", "--limit=1")
    do("get", "a", "--rev=1000")
    do("del", "a", "--prev-kv")
    do("del", "nothing")
    do("lease", "grant", "100")
    do("put", "leased", "v")
    do("lease", "list")
    do("lease", "timetolive", "4d2", "--keys")
    do("lease", "revoke", "4d2")
    do("lease", "keep-alive", "--once", "4d2")
    do("txn", stdin='ver("a") = "0"\n\nput a 2\nget a\n\n\n')
    do("txn", stdin='ver("a") = "5"\n\nput a 2\n\nget a\nget b\n\n')
    do("txn", stdin='ver("a") > "0"\nver("b") = "9"\nver("b") = "9"\n\nget a\n\nget a\nget b\n\n')
    do("txn", stdin='\nget a\nget b\n\n\n')
    do("txn", stdin='\nput a 1\nput a 2\n\n\n')  # the key twice
    do("compact", "3")
    do("compact", "3")  # done already
    do("compact", "1000")
    do("get", "a", "--rev=2")
    do("member", "list")
    do("member", "list", "--consistency=s")
    do("endpoint", "status")
    do("endpoint", "health")
    do("endpoint", "hashkv")
    do("move-leader", "12345")
    do("downgrade", "validate", "3.5")
    do("downgrade", "validate", "3.2")
    do("downgrade", "cancel")
    do("alarm", "list")
    do("alarm", "disarm")
    do("snapshot", "save", folder / f"{member.folder.name}.db")
    do("defrag")


def main(tools, args, folder):
    ours = Member(folder / "ours", FLAGS, constant_identity=True).start(tools.ours, wait=False)
    real = Member(folder / "real", FLAGS, constant_identity=True).start(tools.real, wait=False)
    ours.wait_ready()
    real.wait_ready()
    listed = known()
    failures = []

    def report(name, text):
        if name in listed:
            print(f"known difference {name}")
            return
        print(f"DIFFERENCE {name}\n  {text}")
        failures.append(name)

    for method, path in CHECKS:
        a, b = ask(ours, method, path), ask(real, method, path)
        if a != b:
            report(f"http/{method} {path}", f"ours {a}\n  real {b}")
    for method, path, *rest in PEER_CHECKS:
        body, fields = (rest + [None, None])[:2]
        a, b = (ask(m, method, path, body, fields, m.peer_port) for m in (ours, real))
        if a != b:
            shown = f" {body[:40]!r}" if body else ""
            report(f"http/peer {method} {path}{shown}{' of another cluster' if fields else ''}", f"ours {a}\n  real {b}")
    for (name, a), (_, b) in zip(peers_day(tools, ours), peers_day(tools, real)):
        if a != b:
            report(f"http/peer {name}", f"ours {a}\n  real {b}")
    a, b = vars_of(ours), vars_of(real)
    if a != b:
        report("http/GET /debug/vars", f"ours {a}\n  real {b}")
    # Readiness was asked as often as each needed; what counts is from here on.
    before = [scrape(member)[1] for member in (ours, real)]
    # One day of every request to both, then the scrape: each value of each series is the same.
    for member in (ours, real):
        day(tools, member, folder)
    time.sleep(1)
    compare_metrics(ours, real, before, report)
    ours.stop()
    real.stop()
    if failures:
        raise Failure(f"{len(failures)} differences")


drive(main, __doc__, needs=("oracle-3.6",))
