#!/usr/bin/env python3
"""`etcd grpc-proxy start` beside the real one of etcd 3.6, each in front of a real member of its own with equal content:
the same command lines, and the same calls through both (answers, codes, texts), users included; pages; watches of many
clients over few at the member; keepalives; a member that is killed and comes back; namespace; registered proxies; TLS on
both sides. What differs on purpose is asserted as such."""

import json
import os
import pathlib
import random
import re
import subprocess
import sys
import time
import urllib.error
import urllib.request

sys.path.insert(0, str(pathlib.Path(__file__).resolve().parent.parent / "lib"))
from authority import Authority  # noqa: E402
from members import Failure, Member, die_with_parent, drive, expect, free_port, run, seed_of  # noqa: E402
from twin import Twin, decode  # noqa: E402

WAIT = 60
READY = "started gRPC proxy"


def wait_until(check, what, seconds=WAIT):
    deadline = time.monotonic() + seconds
    while not check():
        if time.monotonic() > deadline:
            raise Failure(f"{what}: not after {seconds} s")
        time.sleep(0.02)


class NoRedirect(urllib.request.HTTPRedirectHandler):
    def redirect_request(self, *_):
        return None


class Proxy:
    """A proxy that runs; what it says."""

    def __init__(self, program, folder, endpoints, *flags, advertise=None):
        self.folder = folder
        folder.mkdir(parents=True, exist_ok=True)
        self.port, self.metrics_port = free_port(), free_port()
        self.endpoint = f"127.0.0.1:{self.port}"
        self.err = folder / "err"
        scheme = "https" if "--cert-file" in flags else "http"
        with open(self.err, "wb") as err:
            self.process = subprocess.Popen(
                [*map(str, program), "grpc-proxy", "start", "--listen-addr", self.endpoint, "--endpoints", endpoints,
                 "--advertise-client-url", self.endpoint if advertise is None else advertise, "--data-dir", str(folder / "data"),
                 "--metrics-addr", f"{scheme}://127.0.0.1:{self.metrics_port}", *map(str, flags)],
                stdout=err, stderr=err, stdin=subprocess.DEVNULL, preexec_fn=die_with_parent)

    def text(self):
        return self.err.read_text(errors="replace")

    def wait(self):
        wait_until(lambda: READY in self.text() or self.process.poll() is not None, READY)
        expect(self.process.poll() is None, f"the proxy ended: {self.text()[-2000:]}")
        return self

    def page(self, path, port=None, method="GET"):
        """Status, fields that matter, body."""
        request = urllib.request.Request(f"http://127.0.0.1:{port or self.port}{path}", method=method)
        try:
            answer = urllib.request.build_opener(NoRedirect).open(request, timeout=20)
        except urllib.error.HTTPError as e:
            answer = e
        fields = {k: v for k, v in answer.headers.items() if k not in ("Date", "Connection", "Content-Length", "Transfer-Encoding")}
        return answer.status, fields, answer.read()

    def metric(self, name):
        for line in self.page("/proxy/metrics")[2].decode().splitlines():
            if line.startswith(name + " "):
                return float(line.split()[1])
        return None

    def end(self):
        if self.process.poll() is None:
            self.process.terminate()
        return self.process.wait(20)


class Pair:
    """A proxy of ours and a real one, each in front of a real member."""

    def __init__(self, tools, folder, *flags, member_flags=(), members=None):
        self.tools, self.folder, self.flags = tools, folder, flags
        self.members = members or {n: Member(folder / f"{n}-member", member_flags, constant_identity=True).start(tools.real, wait=False)
                                   for n in ("ours", "real")}
        for m in self.members.values():
            m.wait_ready()
        programs = {"ours": tools.ours, "real": tools.real}
        self.proxies = {n: Proxy(programs[n], folder / f"{n}-proxy", self.members[n].endpoint, *flags) for n in programs}
        for p in self.proxies.values():
            p.wait()
        self.ours, self.real = self.proxies["ours"], self.proxies["real"]

    def twin(self, **kw):
        return Twin(self.tools, {n: p.endpoint for n, p in self.proxies.items()}, **kw)

    def behind(self):
        return Twin(self.tools, {n: m.endpoint for n, m in self.members.items()})

    def end(self):
        for p in self.proxies.values():
            p.end()
        for m in self.members.values():
            m.end()


# ---- command lines ----------------------------------------------------------------------------------------

def said(tools, program, args, folder):
    done = subprocess.run([*map(str, program), *args], stdout=subprocess.PIPE, stderr=subprocess.PIPE, stdin=subprocess.DEVNULL,
                          timeout=30, cwd=folder, preexec_fn=die_with_parent)
    return done.returncode, done.stdout.decode(), done.stderr.decode()


def command_lines(tools, folder):
    """What each says without starting: outputs and exit code."""
    lines = [
        [], ["start", "--help"], ["--help"], ["-h"], ["help"], ["stop"], ["start", "--foo"], ["start", "-x"], ["--listen-addr", "x"],
        ["start", "--listen-addr"], ["start", "--resolver-prefix", "p"], ["start", "--resolver-ttl", "5"],
        ["start", "--resolver-prefix", "p", "--resolver-ttl", "5", "--advertise-client-url", ""],
        ["start", "--resolver-ttl", "x"], ["start", "--resolver-ttl", "9223372036854775808"], ["start", "--max-send-bytes", "1.5"],
        ["start", "--max-concurrent-streams", "-1"], ["start", "--max-concurrent-streams", "4294967296"],
        ["start", "--self-signed-cert-validity", "-1"], ["start", "--auto-tls", "--self-signed-cert-validity", "0"],
        ["start", "--auto-tls=maybe"], ["start", "--dial-keepalive-time", "5"], ["start", "--grpc-keepalive-timeout", "1 s"],
        ["start", "--tls-min-version", "TLS1.1"], ["start", "--tls-max-version", "x"],
        ["start", "--tls-min-version", "TLS1.3", "--tls-max-version", "TLS1.2"],
        ["start", "--tls-min-version", "TLS1.3", "--listen-cipher-suites", "TLS_AES_128_GCM_SHA256"],
        ["start", "--endpoints", "a\"b"], ["start", "--permit-without-stream=2"],
    ]
    for line in lines:
        ours, real = (said(tools, p, ["grpc-proxy", *line], folder) for p in (tools.ours, tools.real))
        expect(ours == real, f"grpc-proxy {line}:\n ours {ours}\n real {real}")
    for flag in ("--enable-pprof", "--experimental-serializable-ordering", "--experimental-leasing-prefix=x", "--experimental-enable-grpc-logging"):
        code, out, err = said(tools, tools.ours, ["grpc-proxy", "start", flag], folder)
        expect((code, out) == (1, "") and err == f"{flag.split('=')[0]} is not served by this grpc-proxy\n", f"{flag}: {code} {out} {err}")
    # An address that nobody answers at.
    for program in (tools.ours, tools.real):
        port = free_port()
        code, out, err = said(tools, program, ["grpc-proxy", "start", "--listen-addr", f"127.0.0.1:{port}", "--endpoints", "127.0.0.1:1",
                                               "--advertise-client-url", "127.0.0.1:1"], folder)
        expect((code, out) == (1, "") and err.endswith("context deadline exceeded\n"), f"{program}: {code} {out} {err[-300:]}")
    print(f"{len(lines)} command lines", flush=True)


# ---- calls ------------------------------------------------------------------------------------------------

def fixed_calls(t):
    """Each method, with what is good and bad for it."""
    calls = [
        ("KV/Put", {"key": b"a", "value": b"1"}), ("KV/Put", {}), ("KV/Put", {"key": b"a", "lease": 77}),
        ("KV/Put", {"key": b"a", "ignore_value": True, "value": b"x"}), ("KV/Put", {"key": b"nokey", "ignore_value": True}),
        ("KV/Put", {"key": b"a", "value": b"2", "prev_kv": True}), ("KV/Put", {"key": b"big", "value": b"x" * 1_600_000}),
        ("KV/Range", {"key": b"a"}), ("KV/Range", {}), ("KV/Range", {"key": b"a", "revision": 100}), ("KV/Range", {"key": b"a", "sort_order": 7}),
        ("KV/Range", {"key": b"\0", "range_end": b"\0", "sort_order": 2, "limit": 1}), ("KV/Range", {"key": b"b", "range_end": b"a"}),
        ("KV/Range", {"key": b"a", "count_only": True}), ("KV/Range", {"key": b"a", "keys_only": True, "serializable": True}),
        ("KV/Txn", {"success": [{"request_put": {"key": b"a"}}, {"request_put": {"key": b"a"}}]}), ("KV/Txn", {}),
        ("KV/Txn", {"compare": [{"key": b"a", "target": 0, "version": 2}], "success": [{"request_range": {"key": b"a"}}],
                    "failure": [{"request_put": {"key": b"f", "value": b"1"}}]}),
        ("KV/Txn", {"success": [{"request_txn": {"success": [{"request_range": {"key": b"a"}}]}}, {"request_delete_range": {"key": b"zz"}}]}),
        ("KV/DeleteRange", {}), ("KV/DeleteRange", {"key": b"a", "prev_kv": True}), ("KV/Compact", {"revision": 1000}),
        ("KV/Compact", {"revision": 2}), ("KV/Compact", {"revision": 2}), ("KV/Range", {"key": b"a", "revision": 1}),
        ("KV/Range", {"key": b"a", "revision": 1, "serializable": True}),
        ("Lease/LeaseGrant", {"TTL": 100, "ID": 5}), ("Lease/LeaseGrant", {"TTL": 100, "ID": 5}), ("Lease/LeaseGrant", {"TTL": 1 << 40}),
        ("KV/Put", {"key": b"leased", "lease": 5}), ("Lease/LeaseTimeToLive", {"ID": 5, "keys": True}), ("Lease/LeaseTimeToLive", {"ID": 9}),
        ("Lease/LeaseLeases", {}), ("Lease/LeaseRevoke", {"ID": 7}), ("Lease/LeaseRevoke", {"ID": 5}),
        ("Cluster/MemberPromote", {"ID": 1}), ("Cluster/MemberUpdate", {"ID": 1, "peerURLs": ["http://127.0.0.1:3"]}),
        ("Cluster/MemberAdd", {"peerURLs": ["x"]}), ("Maintenance/Status", {}), ("Maintenance/MoveLeader", {"targetID": 8}),
        ("Maintenance/Alarm", {}), ("Maintenance/HashKV", {}), ("Maintenance/HashKV", {"revision": 1000}), ("Maintenance/Hash", {}),
        ("Maintenance/Defragment", {}), ("Maintenance/Downgrade", {"action": 0, "version": "3.4.0"}),
        ("Auth/AuthStatus", {}), ("Auth/AuthEnable", {}), ("Auth/Authenticate", {"name": "x"}), ("Auth/UserAdd", {"name": ""}),
        ("Auth/UserGet", {"name": "nobody"}), ("Auth/RoleGet", {"role": "none"}), ("Auth/RoleList", {}),
        ("Lock/Unlock", {"key": b"none"}), ("Lock/Lock", {"name": b"l", "lease": 1234}),
        ("Election/Leader", {"name": b"e"}), ("Election/Resign", {}), ("Election/Proclaim", {}),
    ]
    for method, request in calls:
        shown = {k: v if not isinstance(v, bytes) or len(v) < 100 else "..." for k, v in request.items()}
        answers = t.call(method, request)
        t.compare(f"{method}", method, shown, answers)


def member_lists(pair, t):
    """Proxies are listed, with the addresses that differ."""
    for name, answer in zip(t.names, t.call("Cluster/MemberList", {})):
        member, = answer["response"]["members"]
        expect(member == {"name": os.uname().nodename, "clientURLs": [pair.proxies[name].endpoint]}, f"{name}: {answer}")
        expect("header" not in answer["response"], f"{name}: {answer}")


def random_calls(t, rng, count):
    """Reads and writes of few keys; serializable reads meet the caches, which must hold the same."""
    def key():
        return bytes([97 + rng.randrange(6)])

    def end():
        return rng.choice([b"", b"", bytes([97 + rng.randrange(8)])])

    def range_op():
        r = {"key": key(), "range_end": end(), "serializable": rng.random() < 0.6}
        if rng.random() < 0.2:
            r["limit"] = rng.randrange(4)
        if rng.random() < 0.2:
            r["sort_order"], r["sort_target"] = rng.randrange(3), rng.randrange(5)
        return r

    def op():
        return rng.choice([lambda: {"request_range": range_op()}, lambda: {"request_put": {"key": key(), "value": b"%d" % rng.randrange(99)}},
                           lambda: {"request_delete_range": {"key": key(), "range_end": end()}}])()

    for _ in range(count):
        kind = rng.randrange(10)
        if kind < 5:
            t.say("range", "KV/Range", range_op())
        elif kind < 7:
            t.say("put", "KV/Put", {"key": key(), "value": b"%d" % rng.randrange(99), "prev_kv": rng.random() < 0.3})
        elif kind < 8:
            t.say("delete", "KV/DeleteRange", {"key": key(), "range_end": end(), "prev_kv": rng.random() < 0.3})
        else:
            t.say("txn", "KV/Txn", {"compare": [{"key": key(), "target": 0, "result": rng.randrange(3), "version": rng.randrange(4)}],
                                    "success": [op() for _ in range(rng.randrange(3))], "failure": [op() for _ in range(rng.randrange(3))]})


def watches(t):
    """Created, told, filtered, joined, refused, cancelled."""
    for i in range(4):
        t.must("KV/Put", {"key": b"w%d" % (i % 2), "value": b"%d" % i})
    create = lambda **kw: {"create_request": kw}  # noqa: E731
    t.converse("watches", "Watch/Watch", [
        create(key=b"w0"), create(key=b"w0"), create(key=b"b", range_end=b"a"), create(key=b"", start_revision=-1),
        create(key=b"w1", watch_id=9), {"cancel_request": {"watch_id": 1}}, create(key=b"w1", range_end=b"w2")])
    s = t.open("Watch/Watch")
    t.send(s, create(key=b"w0", prev_kv=True))
    t.send(s, create(key=b"w0"))
    t.send(s, create(key=b"w0", filters=["NOPUT"]))
    t.read(s, 3)
    t.must("KV/Put", {"key": b"w0", "value": b"new"})
    t.compare("told", "Watch/Watch", "a put", t.read(s, 2))
    t.must("KV/DeleteRange", {"key": b"w0"})
    t.compare("told", "Watch/Watch", "a delete", t.read(s, 3))
    t.must("KV/Txn", {"success": [{"request_put": {"key": b"w0", "value": b"1"}}, {"request_put": {"key": b"w1", "value": b"1"}}]})
    t.compare("told", "Watch/Watch", "a transaction", t.read(s, 2))
    t.close(s)
    # From the past, then what happens.
    s = t.open("Watch/Watch")
    t.send(s, create(key=b"w", range_end=b"x", start_revision=1))
    first = t.read(s, 1)
    t.compare("past", "Watch/Watch", "created", first)
    t.close(s)


def keepalives(pair, t):
    """Ours answers each at once; what is said is alike. A lease that is gone: TTL -1, as TimeToLive says."""
    t.must("Lease/LeaseGrant", {"TTL": 90, "ID": 70})
    t.converse("keepalive", "Lease/LeaseKeepAlive", [{"ID": 70}])
    t.converse("keepalive of none", "Lease/LeaseKeepAlive", [{"ID": 71}])
    ours = Twin(pair.tools, {"ours": pair.ours.endpoint})
    s = ours.open("Lease/LeaseKeepAlive")
    start = time.monotonic()
    for _ in range(200):
        ours.send(s, {"ID": 70})
    answer, = ours.read(s, 200)
    expect(len(answer["messages"]) == 200 and all(m["TTL"] == "90" for m in answer["messages"]), f"{str(answer)[:500]}")
    expect(time.monotonic() - start < 20, "keepalives wait for a third of the time")
    ours.close(s)
    ours.end()


def snapshots(tools, pair, folder):
    for name, proxy in pair.proxies.items():
        file = folder / f"{name}.snap"
        run([tools.oracle, "etcdctl", "--endpoints", proxy.endpoint, "snapshot", "save", file])
        tools.check_file(file)


def pages(pair):
    for path in ("/health", "/proxy/health", "/version", "/", "/livez", "/debug/vars", "/health/x", "//health", "/he%61lth", "/x/../health?a"):
        for port in ("port", "metrics_port"):
            for method in ("GET", "POST"):
                ours, real = (p.page(path, getattr(p, port), method) for p in (pair.ours, pair.real))
                expect(ours == real, f"{method} {path} on {port}:\n ours {ours}\n real {real}")
    ours, real = (p.page("/metrics") for p in (pair.ours, pair.real))
    expect(ours[:2] == real[:2], f"/metrics: {ours[:2]} {real[:2]}")
    expect(b"etcd_server_has_leader 1" in ours[2], "/metrics is not a member's")
    names = [{line.split()[2] for line in p.page("/proxy/metrics")[2].decode().splitlines() if line.startswith("# TYPE")}
             for p in (pair.ours, pair.real)]
    for name in ("etcd_grpc_proxy_cache_hits_total", "etcd_grpc_proxy_cache_misses_total", "etcd_grpc_proxy_cache_keys_total",
                 "etcd_grpc_proxy_events_coalescing_total", "etcd_grpc_proxy_watchers_coalescing_total", "grpc_server_handled_total",
                 "grpc_server_started_total", "grpc_server_msg_received_total", "grpc_server_msg_sent_total", "process_cpu_seconds_total",
                 "etcd_server_health_success"):
        expect(name in names[0] and name in names[1], f"{name}: ours {name in names[0]}, real {name in names[1]}")
    kinds = [dict(re.findall(r"(?m)^# TYPE (etcd_grpc_proxy_\S+) (\S+)", p.page("/proxy/metrics")[2].decode())) for p in (pair.ours, pair.real)]
    expect(kinds[0] == kinds[1], f"{kinds}")


def cache_counts(pair):
    """The same reads meet both caches, and nearly the same hit: of inverted ranges etcd's tree has its own opinion."""
    (hits, misses), (real_hits, real_misses) = ([p.metric(f"etcd_grpc_proxy_cache_{n}_total") for n in ("hits", "misses")]
                                                for p in (pair.ours, pair.real))
    expect(hits + misses == real_hits + real_misses, f"serializable reads: ours {hits} + {misses}, real {real_hits} + {real_misses}")
    expect(hits > 0 and abs(hits - real_hits) <= 5 + real_hits / 10, f"hits: ours {hits}, real {real_hits}")


def users(t):
    """Tokens travel through; rights are those of the member, in calls and in watches."""
    for method, request in [("Auth/UserAdd", {"name": "root", "password": "r"}), ("Auth/UserAdd", {"name": "u", "password": "p"}),
                            ("Auth/RoleAdd", {"name": "root"}), ("Auth/RoleAdd", {"name": "r"}),
                            ("Auth/RoleGrantPermission", {"name": "r", "perm": {"permType": 2, "key": b"u", "range_end": b"v"}}),
                            ("Auth/UserGrantRole", {"user": "root", "role": "root"}), ("Auth/UserGrantRole", {"user": "u", "role": "r"}),
                            ("Auth/AuthEnable", {})]:
        t.must(method, request)
    root, user = t.login("root", "r"), t.login("u", "p")
    wrong = user.changed(lambda token: token[:-1] + "x")
    for who in (None, root, user, wrong):
        for method, request in [("KV/Put", {"key": b"u1", "value": b"1"}), ("KV/Put", {"key": b"x", "value": b"1"}), ("KV/Range", {"key": b"u1"}),
                                ("KV/Range", {"key": b"x"}), ("KV/Txn", {"success": [{"request_range": {"key": b"x"}}]}),
                                ("KV/DeleteRange", {"key": b"x"}), ("KV/Compact", {"revision": 1}), ("Auth/UserList", {}),
                                ("Maintenance/Status", {}), ("Lease/LeaseLeases", {}), ("Lease/LeaseGrant", {"TTL": 10, "ID": 900})]:
            t.say(f"{method} with users", method, request, who)
        t.converse("watch with users", "Watch/Watch", [{"create_request": {"key": b"u1"}}, {"create_request": {"key": b"x"}}], who)
    # What one user was answered is no answer for another (etcd's proxy gives it to everybody).
    t.must("KV/Range", {"key": b"x", "serializable": True}, root)
    ours = t.call("KV/Range", {"key": b"x", "serializable": True}, user, to=["ours"])[0]
    expect(ours["message"] == "etcdserver: permission denied", f"{ours}")
    t.must("Auth/AuthDisable", {}, root)


# ---- many watchers, a member that goes and comes ----------------------------------------------------------------

def fan_out(tools, pair, count):
    """Many streams watch one key; the member has few watches. All are told each change once, also behind a restart."""
    member, proxy = pair.members["ours"], pair.ours
    t = Twin(tools, {"ours": proxy.endpoint})
    behind = Twin(tools, {"member": member.endpoint})
    streams = []
    for i in range(count):
        s = t.open("Watch/Watch")
        t.send(s, {"create_request": {"key": b"fan"}})
        streams.append(s)
    for s in streams:
        answer, = t.read(s, 1)
        expect(answer["messages"][0].get("created"), f"{answer}")

    def watchers():
        with urllib.request.urlopen(member.url + "/metrics", timeout=10) as r:
            return float(re.search(r"(?m)^etcd_debugging_mvcc_watcher_total (\S+)", r.read().decode())[1])

    # Five watchers are enough for a watch of their own; smaller groups join others.
    few = count // 5
    wait_until(lambda: watchers() <= few, "watchers share watches at the member", 20)
    wait_until(lambda: proxy.metric("etcd_grpc_proxy_watchers_coalescing_total") >= count - few, "coalesced watchers", 20)

    def told(value):
        behind.must("KV/Put", {"key": b"fan", "value": value})
        for s in streams:
            answer, = t.read(s, 1)
            events = answer["messages"][0]["events"]
            expect(len(events) == 1 and decode(events[0]["kv"]["value"]) == value, f"{answer}")

    told(b"one")
    told(b"two")
    member.stop()
    member.start(tools.real)
    behind.end()
    behind = Twin(tools, {"member": member.endpoint})
    told(b"three")
    told(b"four")
    expect(proxy.metric("etcd_grpc_proxy_events_coalescing_total") >= 4 * (count - few), "events coalesced")
    for s in streams:
        t.close(s)
    wait_until(lambda: watchers() == 0, "watches at the member end with their streams", 20)
    t.end()
    behind.end()


def member_dies(tools, pair):
    """While no member is there: what waits and what fails at once; afterwards all goes on."""
    for m in pair.members.values():
        m.kill()
    t = pair.twin()

    def mask(answers):
        """Without addresses; whether a deadline is told by this side or by the server's reset is a race."""
        return [{**a, "message": "" if a["code"] == "DeadlineExceeded" else re.sub(r"127\.0\.0\.1:\d+", "ADDRESS", a.get("message", ""))}
                for a in answers]

    for method, request in [("KV/Put", {"key": b"a", "value": b"1"}), ("KV/Range", {"key": b"never read", "serializable": True}),
                            ("Maintenance/Status", {}), ("Lease/LeaseGrant", {"TTL": 10}), ("Lease/LeaseRevoke", {"ID": 10}),
                            ("Lease/LeaseTimeToLive", {"ID": 10}), ("Cluster/MemberRemove", {"ID": 1}), ("Auth/UserList", {})]:
        wait_until(lambda: "connection refused" in str(t.call("Maintenance/Status", {}, millis=3000)[-1]), "the real proxy has noticed", 20)
        t.compare(f"{method} without a member", method, request, mask(t.call(method, request, millis=1500)))
    for path in ("/health", "/proxy/health", "/metrics"):
        ours, real = (p.page(path) for p in (pair.ours, pair.real))
        expect(ours == real, f"{path} without a member: ours {ours}, real {real}")
    for m in pair.members.values():
        m.start(tools.real)
    t.must("KV/Put", {"key": b"back", "value": b"1"})
    wait_until(lambda: pair.ours.page("/proxy/health")[0] == 200, "healthy again")
    t.finish()


# ---- flags ------------------------------------------------------------------------------------------------

def namespace(tools, folder):
    pair = Pair(tools, folder, "--namespace", "ns/")
    t, behind = pair.twin(), pair.behind()
    fixed_calls(t)
    watches(t)
    t.must("KV/Put", {"key": b"n", "value": b"1"})
    for answer in behind.must("KV/Range", {"key": b"\0", "range_end": b"\0", "keys_only": True}):
        for kv in answer["kvs"]:
            expect(decode(kv["key"]).startswith(b"ns/"), f"{kv}")
    behind.must("KV/Put", {"key": b"other", "value": b"1"})
    behind.must("KV/Put", {"key": b"ns0", "value": b"1"})
    for request in ({"key": b"\0", "range_end": b"\0"}, {"key": b"o", "range_end": b"p"}, {"key": b"n", "range_end": b"\0"}):
        t.say("range in a namespace", "KV/Range", request)
    t.must("Lease/LeaseGrant", {"TTL": 100, "ID": 5})
    t.must("KV/Put", {"key": b"l", "lease": 5})
    behind.must("KV/Put", {"key": b"outside", "lease": 5})
    t.say("keys of a lease in a namespace", "Lease/LeaseTimeToLive", {"ID": 5, "keys": True})
    t.say("delete in a namespace", "KV/DeleteRange", {"key": b"\0", "range_end": b"\0", "prev_kv": True})
    behind.say("what is left", "KV/Range", {"key": b"\0", "range_end": b"\0"})
    behind.finish()
    t.finish()
    pair.end()


def resolver(tools, folder):
    """Proxies of both kinds register below one prefix, and each lists both. One that dies is gone after its time."""
    member = Member(folder / "member").start(tools.real)
    flags = ("--resolver-prefix", "proxies", "--resolver-ttl", "3")
    ours, real = (Proxy(p, folder / n, member.endpoint, *flags).wait() for n, p in (("ours", tools.ours), ("real", tools.real)))
    t = Twin(tools, {"ours": ours.endpoint, "real": real.endpoint, "member": member.endpoint})

    def listed():
        return [sorted(m["clientURLs"][0] for m in a["response"]["members"]) for a in t.call("Cluster/MemberList", {}, to=["ours", "real"])]

    both = sorted([ours.endpoint, real.endpoint])
    wait_until(lambda: listed() == [both, both], "both are listed by both")
    kvs = t.call("KV/Range", {"key": b"proxies/", "range_end": b"proxies0"}, to=["member"])[0]["response"]["kvs"]
    values = {decode(kv["key"]).decode(): decode(kv["value"]).decode().replace(real.endpoint, "X").replace(ours.endpoint, "X") for kv in kvs}
    expect(values[f"proxies/{ours.endpoint}"] == values[f"proxies/{real.endpoint}"], f"{values}")
    time.sleep(5)
    expect(listed() == [both, both], "still registered after its time")
    real.process.kill()
    wait_until(lambda: t.call("Cluster/MemberList", {}, to=["ours"])[0]["response"]["members"][0]["clientURLs"] == [ours.endpoint] and
               len(t.call("Cluster/MemberList", {}, to=["ours"])[0]["response"]["members"]) == 1, "the dead one is gone", 20)
    t.end()
    ours.end()
    member.end()


def secure(tools, folder):
    """TLS to clients and to the member; a name in the client certificate towards members is refused."""
    folder.mkdir()
    authority = Authority(folder / "ca")
    ca = authority.path("ca.pem")
    certificate, key = authority.pair("server", "", "IP:127.0.0.1")
    named, named_key = authority.pair("named", "name", "IP:127.0.0.1")
    member = Member(folder / "member")
    url = f"https://{member.endpoint}"
    member.flags = ["--cert-file", certificate, "--key-file", key, "--trusted-ca-file", ca, "--client-cert-auth", "--listen-client-urls", url,
                    "--advertise-client-urls", url]
    member.start(tools.real, wait=False)
    answers = {}
    for name, program in (("ours", tools.ours), ("real", tools.real)):
        flags = ["--cacert", ca, "--cert", certificate, "--key", key, "--cert-file", certificate, "--key-file", key, "--trusted-ca-file", ca]
        p = Proxy(program, folder / name, url, *flags).wait()
        ctl = [tools.oracle, "etcdctl", "--endpoints", f"https://{p.endpoint}", "--cacert", ca, "--cert", certificate, "--key", key]
        expect(run([*ctl, "put", "a", name]).stdout == "OK\n", f"{name}: put")
        expect(run([*ctl, "get", "a", "--print-value-only"]).stdout == f"{name}\n", f"{name}: get")
        curl = ["curl", "-s", "--http1.1", "--cacert", ca, "--cert", certificate, "--key", key]
        for path in ("health", "proxy/health"):
            health = run([*curl, f"https://{p.endpoint}/{path}"]).stdout
            expect(health == '{"health":"true","reason":""}', f"{name} /{path}: {health}")
        expect("etcd_server_has_leader 1" in run([*curl, f"https://127.0.0.1:{p.metrics_port}/metrics"]).stdout, f"{name}: /metrics")
        # HTTP/2 is gRPC's alone.
        answers[name] = run([*curl, "--http2", "-o", folder / "page", "-w", "%{http_version} %{http_code}", f"https://{p.endpoint}/health"],
                            check=False).stdout
        p.end()
        code, _, err = said(tools, program, ["grpc-proxy", "start", "--cert", named, "--key", named_key, "--listen-addr",
                                             f"127.0.0.1:{free_port()}"], folder)
        expect(code == 1 and err.endswith(f"cert has non empty Common Name (name): {named}\n"), f"{name}: {code} {err[-300:]}")
    expect(answers["ours"] == answers["real"], f"a page by HTTP/2: {answers}")
    member.end()


def main(tools, args, folder):
    rng = random.Random(seed_of(args))
    command_lines(tools, folder)
    if args.only:
        return globals()[args.only](tools, folder / args.only)
    pair = Pair(tools, folder / "pair")
    t = pair.twin()
    fixed_calls(t)
    member_lists(pair, t)
    random_calls(t, rng, 5000 if args.long else 500)
    cache_counts(pair)
    watches(t)
    keepalives(pair, t)
    snapshots(tools, pair, folder)
    pages(pair)
    users(t)
    t.finish()
    print("calls, watches, keepalives, pages, users", flush=True)
    fan_out(tools, pair, 1000 if args.long else 100)
    print("watchers share", flush=True)
    member_dies(tools, pair)
    pair.end()
    print("a member goes and comes", flush=True)
    namespace(tools, folder / "namespace")
    print("namespace", flush=True)
    resolver(tools, folder / "resolver")
    print("registered proxies", flush=True)
    secure(tools, folder / "secure")
    print("TLS", flush=True)


def add_arguments(parser):
    parser.add_argument("--seed", type=int, help="of the random calls")
    parser.add_argument("--only", choices=("namespace", "resolver", "secure"), help="one of the parts that need nothing else")


if __name__ == "__main__":
    drive(main, __doc__, add_arguments, needs=("oracle-3.6", "interop"))
