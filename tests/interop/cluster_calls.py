#!/usr/bin/env python3
"""Three members of ours beside three real etcd 3.6: the calls that change members and leadership, what members ask each
other over HTTP, leases through followers, what a learner serves, and a member left without a leader. The same is asked of both clusters, and the
answers are the same but for names: ids, ports and terms are told by what they are of."""

import http.client
import json
import pathlib
import re
import subprocess
import sys
import time

sys.path.insert(0, str(pathlib.Path(__file__).resolve().parent.parent / "lib"))
import cluster as clusters  # noqa: E402
from members import DIFFERENCES, Failure, die_with_parent, drive, free_port  # noqa: E402

COUNT = 3
CONNECTED_SECONDS = 7  # members count as connected after 5 s
# What Go does not take for a member's URL (the whole table: src/membership/testdata/urls.txt).
NO_PEER_URLS = ["a:1", "ftp://a:1", "http://a", "http://a:1/", "http://a:1/x", "http://a:b", "http://a:1:2", "http://a b:1",
                "http://a%41:1", "http://a%zz:1", "http://[1.2.3.4]:1", "http://[foo]:1", "http://[::1", "http://u p@a:1", "//a:1",
                "http://a:1#%zz", "unix://a/%zz"]


class Side:
    """One of the two clusters, and how it is asked."""

    def __init__(self, tools, folder, kind):
        self.tools = tools
        self.cluster = clusters.Cluster(tools, folder, [kind] * COUNT).found()
        self.names = {}
        for i, node in enumerate(self.cluster.nodes):
            node.status()
            node.number = i
        for i, node in enumerate(self.cluster.nodes):
            self.name_member(int(node.id, 16), i)
            self.names[str(node.peer_port)] = f"PEER{i}"
            self.names[str(node.client_port)] = f"CLIENT{i}"
        self.cluster_id = dict(self.http(self.cluster.nodes[0], "GET", "/members")[1])["X-Etcd-Cluster-Id"]
        self.names[self.cluster_id] = "CLUSTER"
        self.names[str(int(self.cluster_id, 16))] = "CLUSTER"

    def name_member(self, member, name):
        self.names[str(member)] = f"ID{name}"
        self.names[f"{member:x}"] = f"id{name}"

    def ctl(self, nodes, *args, timeout=60):
        """What etcdctl says."""
        command = [self.tools.oracle, "etcdctl", "--endpoints", ",".join(n.endpoint for n in nodes), *args]
        done = subprocess.run([*map(str, command)], text=True, capture_output=True, timeout=timeout, check=False,
                              preexec_fn=die_with_parent)
        return done.stdout + done.stderr

    def http(self, node, method, path, body=None, fields=None):
        c = http.client.HTTPConnection(node.host, node.peer_port, timeout=20)
        try:
            c.request(method, path, body, fields or {})
            r = c.getresponse()
            headers = {k: v for k, v in r.getheaders() if k.lower() != "date"}
            body = r.read().decode("latin-1")
            # Ids differ in their length.
            if headers.get("Content-Length") == str(len(body)):
                headers["Content-Length"] = "right"
            if headers.get("Content-Type") == "application/json" and body.startswith("["):
                # Ids differ in their order.
                body = "[" + ",".join(sorted(re.findall(r"\{[^{}]*\}", body), key=lambda m: re.findall('"name".*', m))) + body[-2:]
            return r.status, sorted(headers.items()), body
        finally:
            c.close()

    def named(self, said):
        """Without what differs from one run to the next."""
        said = re.sub(r'"(raft_term|raftTerm)":\d+', r'"\1":T', said)
        said = re.sub(r"(?m)^\{\"level\":.*$", lambda m: re.sub(r'"(ts|caller|target|attempt)":("[^"]*"|\d+),?', "", m.group(0)), said)
        said = re.sub(r"LocalAddr: '[^']*'", "LocalAddr", said)
        # Whose end of a call heard of its deadline first.
        said = said.replace("stream terminated by RST_STREAM with error code: CANCEL", "context deadline exceeded")
        said = re.sub(r"0x[0-9a-f]{6,}", "PTR", said)
        for text in sorted(self.names, key=len, reverse=True):
            said = re.sub(rf"(?<![0-9a-f]){text}(?![0-9a-f])", self.names[text], said)
        return said


def varint(value):
    value %= 1 << 64
    out = b""
    while value > 127:
        out += bytes([value & 127 | 128])
        value >>= 7
    return out + bytes([value])


def in_order(text):
    """Members are sorted by their ids, which differ."""
    try:
        shown = json.loads(text)
    except ValueError:
        return text
    if isinstance(shown, dict) and "members" in shown:
        shown["members"].sort(key=lambda m: m.get("name", "~"))
    return json.dumps(shown, separators=(",", ":"))


BEHIND = 'etcd_server_learner_promote_failures{Reason="etcdserver: can only promote a learner member which is in sync with leader"}'

LEARNER_CALLS = [
    ("status", {}), ("get", {"key": "k0", "Serial": True}), ("get", {"key": "k0"}), ("txnget", {"key": "k0", "Serial": True}), ("put", {"key": "k0"}),
    ("delete", {"key": "k0"}), ("compact", {"Revision": 1}), ("grant", {"TTL": 5}), ("revoke", {"Lease": 5}), ("ttl", {"Lease": 5}), ("leases", {}),
    ("keepalive", {"Lease": 5}), ("watch", {"key": "k0", "Action": "create"}), ("watch", {"key": "k0", "Action": "create", "Leader": True}),
    ("hashkv", {}), ("snapshot", {}), ("defrag", {}), ("alarm", {"Action": "GET"}), ("move", {"ID": "5"}), ("downgrade", {"Action": "CANCEL"}),
    ("members", {}), ("members", {"Serial": True}), ("add", {"URLs": ["http://127.0.0.1:9"]}), ("remove", {"ID": "5"}),
    ("update", {"ID": "5", "URLs": ["http://127.0.0.1:9"]}), ("promote", {"ID": "5"}), ("health", {"Key": ""}),
]


def learner_metrics(node):
    return {k: v for k, v in node.metrics().items() if k.startswith(("etcd_server_learner", "etcd_server_is_learner"))}


def visit(cluster, kind):
    """What one cluster says, as (name, text)."""
    said = []

    def tell(name, text):
        said.append((name, cluster.named(text if isinstance(text, str) else repr(text))))

    seats = list(cluster.cluster.nodes)
    time.sleep(CONNECTED_SECONDS)
    cluster.cluster.lead(seats[0])
    leader, follower, other = seats

    tell("move-leader to a stranger", cluster.ctl(seats, "move-leader", "5"))
    tell("move-leader to itself", cluster.ctl(seats, "move-leader", f"{int(leader.id, 16):x}"))
    for s in seats:
        tell(f"member list at {s.number}", in_order(cluster.ctl([s], "member", "list", "-w", "json")))
        tell(f"downgrade enabled at {s.number}", cluster.http(s, "GET", "/downgrade/enabled"))
        tell(f"members at {s.number}", cluster.http(s, "GET", "/members"))

    for s in seats:
        shown = json.loads(s.get("/debug/vars")[1])["raft.status"]
        # Where the log stands is each cluster's own affair, and whom a member voted for.
        shown.update(term="*", commit="*", applied="*", vote="*")
        shown["progress"] = sorted((cluster.named(k), sorted(p), p["state"]) for k, p in shown["progress"].items())
        tell(f"raft status at {s.number}", shown)

    # ---- data and leases ----
    for i in range(5):
        cluster.ctl([follower], "put", f"k{i}", "value")
    for s in seats:
        cluster.cluster.ctl.must("get", s, key="k0")  # it has applied everything
        tell(f"hash at {s.number}", cluster.http(s, "GET", "/members/hashkv", b'{"revision":4}', {"X-Etcd-Cluster-ID": cluster.cluster_id}))
    lease, number = "4d2", 0x4d2
    cluster.cluster.ctl.must("grant", follower, Lease=number, TTL=1000)
    cluster.ctl([follower], "put", "leased", "v", f"--lease={lease}")
    renewal = b"\x08" + varint(number)
    question = b"\x0a" + varint(len(renewal)) + renewal
    unknown = b"\x0a\x02\x08\x05"
    for s in seats:
        tell(f"renewal at {s.number}", cluster.http(s, "POST", "/leases", renewal))
        tell(f"renewal of an unknown lease at {s.number}", cluster.http(s, "POST", "/leases", b"\x08\x05"))
        # How much is left depends on the moment: two bytes of the message.
        answer = repr(cluster.http(s, "POST", "/leases/internal", question))
        tell(f"times at {s.number}", re.sub(r"\\x18.+?\\x07 ", "TTL", answer))
        tell(f"times of an unknown lease at {s.number}", cluster.http(s, "POST", "/leases/internal", unknown))
        tell(f"keep-alive through {s.number}", cluster.ctl([s], "lease", "keep-alive", "--once", lease))
        tell(f"keep-alive of an unknown lease through {s.number}", cluster.ctl([s], "lease", "keep-alive", "--once", "5"))
        tell(f"timetolive through {s.number}", re.sub(r"remaining\(\d+s\)", "remaining(S)", cluster.ctl([s], "lease", "timetolive", lease, "--keys")))
        tell(f"timetolive of an unknown lease through {s.number}", cluster.ctl([s], "lease", "timetolive", "5"))
        tell(f"leases at {s.number}", cluster.ctl([s], "lease", "list"))

    # ---- members ----
    voter = int(other.id, 16)
    for s in seats:
        tell(f"promotion of a voter through {s.number}", cluster.ctl([s], "member", "promote", f"{voter:x}"))
        tell(f"promotion of a stranger through {s.number}", cluster.ctl([s], "member", "promote", "5"))
        tell(f"promotion of a voter by HTTP at {s.number}", cluster.http(s, "POST", f"/members/promote/{voter}"))
        tell(f"promotion of a stranger by HTTP at {s.number}", cluster.http(s, "POST", "/members/promote/5"))
    learner_port = free_port()
    cluster.names[str(learner_port)] = "LEARNER"
    added = cluster.ctl([follower], "member", "add", "l", "--learner", f"--peer-urls=http://127.0.0.1:{learner_port}", "-w", "json")
    learner = json.loads(added)["member"]["ID"]
    cluster.name_member(learner, "L")

    tell("add a learner through a follower", in_order(added))
    for s in seats:
        tell(f"promotion of a learner that is behind through {s.number}", cluster.ctl([s], "member", "promote", f"{learner:x}"))
        tell(f"promotion of a learner that is behind by HTTP at {s.number}", cluster.http(s, "POST", f"/members/promote/{learner}"))
    tell("add a second learner", cluster.ctl([follower], "member", "add", "x", "--learner", "--peer-urls=http://127.0.0.1:9"))
    for url in NO_PEER_URLS:
        tell(f"add {url!r}", cluster.ctl([follower], "member", "add", "x", "--learner", f"--peer-urls={url}"))
    tell("add a URL that is used", cluster.ctl([follower], "member", "add", "x", "--learner", f"--peer-urls={other.peer_url}"))
    tell("update to a URL that is used", cluster.ctl([follower], "member", "update", f"{learner:x}", f"--peer-urls={other.peer_url}"))
    tell("update a stranger", cluster.ctl([follower], "member", "update", "5", "--peer-urls=http://127.0.0.1:9"))
    tell("update", in_order(cluster.ctl([follower], "member", "update", f"{learner:x}", "--peer-urls=http://127.0.0.1:9", "-w", "json")))
    tell("remove", in_order(cluster.ctl([other], "member", "remove", f"{learner:x}", "-w", "json")))
    tell("remove again", cluster.ctl([other], "member", "remove", f"{learner:x}"))
    tell("remove a stranger", cluster.ctl([other], "member", "remove", "5"))
    tell("promotion of one that is gone", cluster.ctl([other], "member", "promote", f"{learner:x}"))

    # ---- downgrade ----
    for what in (["validate", "3.5"], ["validate", "3.2"], ["enable", "3.5"], ["enable", "3.5"], ["cancel"], ["cancel"]):
        tell(f"downgrade {' '.join(what)} through a follower", cluster.ctl([follower], "downgrade", *what))

    # ---- a learner: what it serves, and its promotion ----
    for s in seats:
        tell(f"counted promotions at {s.number}", learner_metrics(s))
    learner = cluster.cluster.add(kind, learner=True)
    cluster.name_member(int(learner.id, 16), "N")
    tell("counted at the learner", learner_metrics(learner))
    for do, fields in LEARNER_CALLS:
        answer = cluster.cluster.ctl.call(do, learner, 5, **fields)
        tell(f"{do} {fields or ''} at a learner", f"{answer['code']} {answer.get('message', '')}")
    for path in ("/health", "/readyz", "/readyz/non_learner", "/livez"):
        code, body = learner.get(path)
        tell(f"{path} at a learner", (code, sorted(body.split("\n"))))  # etcd's order is chance
    for path in ("/members/promote/5", f"/members/promote/{other.id}"):
        tell(f"{path} at a learner", cluster.http(learner, "POST", path))
    tell("downgrade enabled at a learner", cluster.http(learner, "GET", "/downgrade/enabled"))
    tell("hash at a learner", cluster.http(learner, "GET", "/members/hashkv", b'{"revision":4}'))
    clusters.wait_until(lambda: "200" in repr(cluster.http(follower, "POST", f"/members/promote/{int(learner.id, 16)}")), "it is promoted")
    clusters.wait_until(lambda: learner_metrics(learner).get("etcd_server_is_learner") == 0, "it knows of that")
    tell("put at the promoted member", cluster.cluster.ctl.call("put", learner, 5, key="k", value="v")["code"])
    for s in seats:
        counted = learner_metrics(s)
        counted.pop(BEHIND, None)  # how often that was tried
        tell(f"counted at {s.number} after the promotion", counted)
    tell("remove the promoted member", cluster.cluster.ctl.call("remove", other, 10, ID=learner.id)["code"])
    tell("it ends", learner.wait_exit())

    # ---- leadership ----
    tell("move-leader", cluster.ctl(seats, "move-leader", f"{int(follower.id, 16):x}"))
    tell("it leads", str(cluster.cluster.wait_leader(other_than=leader) is follower))
    tell("hash afterwards", cluster.http(other, "GET", "/members/hashkv", b'{"revision":4}'))

    # ---- one member that can't be reached, then a member alone ----
    watch = subprocess.Popen([*map(str, [cluster.tools.oracle, "etcdctl", "--endpoints", other.endpoint, "watch", "k"])], text=True,
                             stdout=subprocess.PIPE, stderr=subprocess.STDOUT, preexec_fn=die_with_parent)
    time.sleep(1)
    leader.kill()
    follower.kill()
    time.sleep(6)
    if watch.poll() is None:
        watch.kill()
        tell("watch without a leader", "goes on")
    else:
        tell("watch without a leader", watch.stdout.read())
    quick = "--command-timeout=2s"
    tell("watch anew without a leader", cluster.ctl([other], "watch", "k", quick, timeout=20))
    tell("add without a quorum", cluster.ctl([other], "member", "add", "x", "--learner", "--peer-urls=http://127.0.0.1:9", quick))
    tell("remove without a quorum", cluster.ctl([other], "member", "remove", f"{int(other.id, 16):x}", quick))
    tell("update without a quorum", cluster.ctl([other], "member", "update", f"{int(other.id, 16):x}", "--peer-urls=http://127.0.0.1:9", quick))
    # Who notices first that the client's time is over, is chance: the member says that there is no leader, the client that it is late.
    refused = cluster.named(cluster.ctl([other], "member", "promote", f"{int(leader.id, 16):x}", quick))
    tell("promotion without a leader", re.sub("code = Unavailable desc = etcdserver: no leader|code = DeadlineExceeded desc = context deadline exceeded"
                                              "|etcdserver: no leader|context deadline exceeded", "LATE", refused))
    tell("move-leader without a leader", cluster.ctl([other], "move-leader", f"{int(other.id, 16):x}", quick))
    tell("renewal without a leader", cluster.http(other, "POST", "/leases", renewal))
    tell("times without a leader", cluster.http(other, "POST", "/leases/internal", question))
    # Whether the request's time is over before that of the read is chance in etcd.
    status, _, body = cluster.http(other, "GET", "/downgrade/enabled")
    tell("downgrade enabled without a leader", f"{status} {re.sub('etcdserver: request timed out|context deadline exceeded', 'LATE', body)}")
    tell("members without a leader", in_order(cluster.ctl([other], "member", "list", "--consistency=s", "-w", "json")))
    return said


def main(tools, args, folder):
    listed = set(re.findall(r"(?m)^- `([^`]+)`: ", DIFFERENCES.read_text()))
    answers = []
    for kind in ("quoin", "3.6"):
        side = Side(tools, folder / kind, kind)
        answers.append(visit(side, kind))
        for node in side.cluster.nodes:
            node.end()
    failures = []
    for (name, a), (_, b) in zip(*answers, strict=True):
        if a == b:
            continue
        name = f"cluster/{name}"
        if name in listed:
            print(f"known difference {name}")
            continue
        print(f"DIFFERENCE {name}\n  ours {a}\n  real {b}")
        failures.append(name)
    print(f"{len(answers[0])} answers compared")
    if failures:
        raise Failure(f"{len(failures)} differences")


drive(main, __doc__, needs=("oracle-3.6",))
