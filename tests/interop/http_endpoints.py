#!/usr/bin/env python3
"""The HTTP side of the client port, beside a real etcd 3.6: /health, /livez, /readyz and /version with their
variants, byte for byte; of /metrics the families, types, label names and label values that are not numbers of this
process, after the same requests to both. What only one side has is listed."""

import http.client
import json
import pathlib
import re
import sys

sys.path.insert(0, str(pathlib.Path(__file__).resolve().parent.parent / "lib"))
from members import DIFFERENCES, Failure, Member, drive, run  # noqa: E402

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
]

# Headers that tell the time or are the connection's own affair.
IGNORED_HEADERS = {"date"}

# Families that count requests, so that after the same ones the numbers are the same too.
COUNTING = re.compile(r"grpc_server_|etcd_mvcc_(put|delete|txn)_total|etcd_debugging_lease_(granted|revoked|renewed)_total|"
                      r"etcd_debugging_mvcc_(keys_total|current_revision|compact_revision|total_put_size_in_bytes|events_total|"
                      r"watch_stream_total|watcher_total)|etcd_server_(has_leader|is_leader|is_learner|quota_backend_bytes|"
                      r"client_requests_total|health_|leader_changes|proposals_failed)|etcd_debugging_lease_ttl_total|"
                      r"etcd_network_client_grpc_received")

# Label values that name this process, not what it does.
OWN_VALUES = {"server_id", "server_go_version", "version", "Local", "Remote"}


def ask(member, method, path, port=None):
    c = http.client.HTTPConnection("127.0.0.1", port or member.client_port, timeout=20)
    try:
        c.request(method, path)
        r = c.getresponse()
        body = r.read().decode("utf-8", "replace")
        headers = sorted(f"{k}: {v}" for k, v in r.getheaders() if k.lower() not in IGNORED_HEADERS)
    finally:
        c.close()
    if path == "/version" and r.status == 200 and body:
        shown = json.loads(body)
        shown.pop("quoin-version", None)  # meant: the program's own version beside the one it stands for
        headers = [h for h in headers if not h.lower().startswith("content-length")]
        body = json.dumps(shown)
    if "verbose" in path:
        # The order of the checks is not fixed.
        body = "\n".join(sorted(body.split("\n")))
    return f"{r.status} {headers} {body!r}"


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


def scrape(member):
    """Content type and {family: (type, {series})}; a series is its suffix, its labels, and, where it counts requests,
    its value."""
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
        families[family][1].add((name[len(family):], pairs, value if COUNTING.match(family) and not family.endswith("_seconds") else None))
    return content_type, families


def known():
    return set(re.findall(r"(?m)^- `([^`]+)`: ", DIFFERENCES.read_text()))


def compare_metrics(ours, real, report):
    content_a, a = scrape(ours)
    content_b, b = scrape(real)
    if content_a != content_b:
        report("http/metrics content type", f"ours {content_a}, real {content_b}")
    for name in sorted(set(b) - set(a)):
        report(f"metrics/missing/{name}", f"the real one has {name} ({b[name][0]})")
    for name in sorted(set(a) - set(b)):
        report(f"metrics/extra/{name}", f"ours has {name} ({a[name][0]})")
    for name in sorted(set(a) & set(b)):
        if a[name][0] != b[name][0]:
            report(f"metrics/type/{name}", f"ours {a[name][0]}, real {b[name][0]}")
        # Sizes of what Go's collector does are its own.
        if a[name][1] != b[name][1] and a[name][0] != "summary":
            only_a, only_b = sorted(a[name][1] - b[name][1]), sorted(b[name][1] - a[name][1])
            report(f"metrics/series/{name}", f"only ours {only_a[:4]} ({len(only_a)}), only real {only_b[:4]} ({len(only_b)})")


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
    for method, path in PEER_CHECKS:
        a, b = ask(ours, method, path, ours.peer_port), ask(real, method, path, real.peer_port)
        if a != b:
            report(f"http/peer {method} {path}", f"ours {a}\n  real {b}")
    a, b = vars_of(ours), vars_of(real)
    if a != b:
        report("http/GET /debug/vars", f"ours {a}\n  real {b}")
    # The same requests to both, then the scrape: families appear with what they count.
    for member in (ours, real):
        ctl = [tools.oracle, "etcdctl", "--endpoints", member.endpoint]
        for command in (["put", "a", "1"], ["get", "a"], ["del", "a"], ["lease", "grant", "100", "-w", "simple"], ["member", "list"],
                        ["compact", "2"], ["endpoint", "status"], ["endpoint", "hashkv"], ["defrag"], ["alarm", "list"],
                        ["snapshot", "save", folder / f"{member.folder.name}.db"]):
            run([*ctl, *command])
        run([*ctl, "txn"], stdin='ver("a") = "0"\n\nput a 2\nget a\n\n\n')
    compare_metrics(ours, real, report)
    ours.stop()
    real.stop()
    if failures:
        raise Failure(f"{len(failures)} differences")


drive(main, __doc__, needs=("oracle-3.6",))
