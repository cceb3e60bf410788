"""Clusters under test: members that are each Quoin or a real etcd 3.5, 3.6 or 3.7, told by a word (quoin, 3.5, 3.6, 3.7),
a kind. A member keeps its directory, name and addresses when it is started as another kind.

    cluster = Cluster(tools, folder, ["quoin", "3.6", "3.6"]).found()
    load = Load(cluster).run()
    cluster.leader().kill()
    cluster.wait_leader()

Everything waits with an end. Calls that tell a member's own code and text go through cluster.ctl (go/interop/ctl.go)."""

import json
import pathlib
import re
import signal
import subprocess
import sys
import time
import urllib.request

sys.path.insert(0, str(pathlib.Path(__file__).resolve().parent))
import network as networks  # noqa: E402
from members import Conversation, Failure, Member, Skip, die_with_parent, expect, run, seed_of  # noqa: E402

KINDS = ("quoin", "3.5", "3.6", "3.7")
WAIT_SECONDS = 60

# Log lines of a real member that are never a fault's doing: somebody sent what the protocol does not know. Any
# line of level error or above counts too, unless HARMLESS has it.
ABOUT_MESSAGES = re.compile("|".join([
    "failed to (unmarshal|decode|read) Raft message", "unexpected Raft message type", "failed to parse path into ID",
    "unexpected http status code", "failed version compatibility check", "request cluster ID mismatch",
    "due to (cluster ID mismatch|server version incompatibility)", "ignored streaming request; ID mismatch",
    "request sent was ignored", "unexpected stream", "unexpected message type", "failed to get version",
    "failed to unmarshal", "malformed", "unhandled message", "invalid request", "unsupported",
    "failed to verify", "checksum|crc mismatch", "found data inconsistency", "found hash mismatch", "corrupt",
    "ignored a message|unknown peer", "cannot (step|decode)", "received (an )?invalid", "proto:",
    "bad snapshot|failed to apply (incoming )?snapshot", "panic"]), re.IGNORECASE)
# An error field that tells of a broken line, and of nothing that came over it.
LINE_BROKEN = re.compile("connection refused|connection reset|broken pipe|i/o timeout|EOF|context (canceled|deadline)|"
                         "use of closed network connection|Client.Timeout|no route to host|invalid argument")
OVER_A_LINE = re.compile("failed to (get version|read Raft message|save incoming database snapshot)")
# What faults themselves make a real member say as an error, or what it says of an operator's own request.
HARMLESS = re.compile("|".join([
    "lost the TCP streaming|failed to (find remote peer|heartbeat|publish|send|dial|reach|close|process Raft message)",
    "prober detected unhealthy", "connection refused|connection reset|broken pipe|i/o timeout|EOF|context (canceled|deadline)",
    "use of closed network connection", "the member has been permanently removed|rejected|removed from cluster|has been removed",
    "leader changed|no leader|not leader|stopped|request timed out|too many requests|learner", "server stopped",
    "Compact-hash|compaction hash|invalid auth token", "failed to (update|get) (server|storage|cluster) version",
    "etcdserver: (unhealthy cluster|re-configuration failed|Peer URLs|member)", "setting up serving from embedded etcd failed"]),
    re.IGNORECASE)


class Ctl:
    """Single calls: call("put", endpoint, key="a", value="b") -> the answer with its code; must(...) wants OK."""

    def __init__(self, tools):
        self.child = Conversation([tools.interop, "ctl"])

    def call(self, do, node, timeout=10, **fields):
        endpoint = node if isinstance(node, str) else node.endpoint
        request = {"Do": do, "Endpoint": endpoint, "TimeoutS": timeout}
        request.update({k.replace("_", ""): v for k, v in fields.items()})
        self.child.child.stdin.write(json.dumps(request) + "\n")
        self.child.child.stdin.flush()
        line = self.child.child.stdout.readline()
        if not line:
            raise Failure(f"the client program ended at {request}")
        return json.loads(line)

    def must(self, do, node, timeout=10, **fields):
        answer = self.call(do, node, timeout, **fields)
        if answer["code"] != "OK":
            raise Failure(f"{do} at {node}: {answer}")
        return answer

    def close(self):
        self.child.close()


class Node(Member):
    """One member of a cluster. `kind` is what it is started as; `id` is known once it has been seen to answer."""

    def __init__(self, cluster, name, kind):
        super().__init__(cluster.folder / name)
        self.cluster = cluster
        self.name = name
        self.kind = kind
        self.flags = []
        self.id = None
        self.state = "new"
        self.initial = None  # what --initial-cluster says
        self.removed = False
        self.stuck = self.folder / "stuck"  # while it exists, syncs hang (Cluster(slow_disks=True))
        self.host = self.peer_url = self.peer_listen = None
        cluster.network.place(self)

    def __str__(self):
        return f"{self.name} ({self.kind})"

    @property
    def endpoint(self):
        return f"{self.host}:{self.client_port}"

    def command(self, program):
        line = [*map(str, program), "--name", self.name, "--data-dir", str(self.data), "--listen-client-urls", self.url,
                "--advertise-client-urls", self.url, "--listen-peer-urls", self.peer_listen,
                "--initial-advertise-peer-urls", self.peer_url, "--initial-cluster", self.initial,
                "--initial-cluster-state", self.state, "--initial-cluster-token", "quoin-tests",
                *self.cluster.flags_of(self.kind), *self.flags]
        if self.cluster.slowdisk:
            line = [str(self.cluster.slowdisk), str(self.stuck), *line]
        return self.cluster.network.wrap(self, line)

    def start(self, kind=None, wait=False, extra=()):
        """Starts the member on its directory, as another kind if one is told; `extra` flags are for this start only."""
        if kind and kind != self.kind and self.log.exists():
            self.cluster.marks[self.name] = self.log_end()  # what it said as another kind is not judged as this one's
        self.kind = kind or self.kind
        self.flags, kept = [*self.flags, *extra], self.flags
        super().start(self.cluster.program(self.kind), wait=False)
        self.flags = kept
        self.cluster.network.started(self)
        if wait:
            self.wait_ready()
        return self

    def wait_ready(self, seconds=WAIT_SECONDS):
        """Until it answers a linearizable read, or as a learner knows a leader."""
        def ready():
            if self.process.poll() is not None:
                raise Failure(f"{self} ended with {self.process.returncode} before it was ready\n{self.log_tail()}")
            s = self.status()
            if s["code"] != "OK" or s["leader"] == "0":
                return s
            if s["learner"]:
                return True
            answer = self.cluster.ctl.call("get", self, 3, key="ready")
            return answer["code"] == "OK" or answer
        wait_until(ready, f"{self} is ready", seconds)
        return self

    @property
    def running(self):
        return self.process is not None and self.process.poll() is None

    def restart(self, kind=None, **kw):
        self.stop()
        return self.start(kind, **kw)

    def pause(self):
        self.process.send_signal(signal.SIGSTOP)

    def go_on(self):
        self.process.send_signal(signal.SIGCONT)

    def stop(self, seconds=None):
        self.release_disk()
        super().stop()

    def end(self):
        self.release_disk()
        if self.running:
            self.go_on()
        super().end()

    def stick_disk(self):
        self.stuck.touch()

    def release_disk(self):
        self.stuck.unlink(missing_ok=True)

    def wait_exit(self, seconds=30):
        try:
            return self.process.wait(seconds)
        except subprocess.TimeoutExpired:
            raise Failure(f"{self} still runs after {seconds} s") from None

    def status(self, timeout=2):
        answer = self.cluster.ctl.call("status", self, timeout)
        if answer["code"] == "OK":
            self.id = answer["member"]
        return answer

    def is_leader(self):
        s = self.status()
        return s["code"] == "OK" and s["leader"] == s["member"]

    def get(self, path, timeout=5):
        """A page of the client port: (code, body)."""
        try:
            with urllib.request.urlopen(self.url + path, timeout=timeout) as r:
                return r.status, r.read().decode()
        except urllib.error.HTTPError as e:
            return e.code, e.read().decode()

    def metrics(self):
        """The values of /metrics by series."""
        values = {}
        for line in self.get("/metrics")[1].splitlines():
            if line and not line.startswith("#"):
                series, _, value = line.rpartition(" ")
                values[series] = float(value)
        return values

    def log_lines(self, since=0):
        """(position, line as a dict) of the log's lines that are JSON, from a byte position on."""
        out = []
        with open(self.log, "rb") as f:
            f.seek(since)
            for raw in f:
                since += len(raw)
                try:
                    out.append((since, json.loads(raw)))
                except ValueError:
                    if raw.startswith((b"panic:", b"fatal error:", b"goroutine ")) or b": check failed: " in raw:
                        out.append((since, {"level": "panic", "msg": raw.decode(errors="replace").strip()}))
        return out

    def log_has(self, text, since=0):
        return any(text in json.dumps(line, ensure_ascii=False) for _, line in self.log_lines(since))

    def log_end(self):
        return self.log.stat().st_size


def wait_until(check, what, seconds=WAIT_SECONDS, every=0.02):
    """check() returns True, or something that says how things are. Returns the seconds it took."""
    began = time.monotonic()
    while True:
        now = check()
        if now is True:
            return time.monotonic() - began
        if time.monotonic() - began > seconds:
            raise Failure(f"not after {seconds} s: {what}; last seen: {now}")
        time.sleep(every)


class Cluster:
    """`options` are flags by their 3.6 names without dashes, translated where a version names them otherwise."""

    def __init__(self, tools, folder, kinds, network=None, options=None, slow_disks=False, heartbeat=100, election=1000):
        self.tools = tools
        self.folder = pathlib.Path(folder)
        self.folder.mkdir(parents=True, exist_ok=True)
        self.options = {"heartbeat-interval": heartbeat, "election-timeout": election, **(options or {})}
        self.election = election / 1000
        self.network = network or networks.Plain(tools)
        self.slowdisk = build_slowdisk(self.folder) if slow_disks else None
        self.ctl = Ctl(tools)
        self.nodes = []
        self.count = 0
        self.kinds = list(kinds)
        for kind in self.kinds:
            self._node(kind)
        self.marks = {}

    # ---- programs and flags ----

    def program(self, kind):
        if kind == "quoin":
            return self.tools.ours
        if kind not in KINDS:
            raise Failure(f"no kind of member {kind}; there are {', '.join(KINDS)}")
        return {"3.5": lambda: self.tools.real35, "3.6": lambda: [self.tools.oracle, "etcd"],
                "3.7": lambda: self.tools.real37}[kind]()

    def flags_of(self, kind):
        out = []
        for name, value in self.options.items():
            if kind == "3.5":
                if name == "feature-gates":
                    if "CompactHashCheck=true" in value:
                        out += ["--experimental-compact-hash-check-enabled"]
                    if "InitialCorruptCheck=true" in value:
                        out += ["--experimental-initial-corrupt-check"]
                    continue
                if name in ("snapshot-catchup-entries", "corrupt-check-time", "compact-hash-check-time", "max-learners",
                            "watch-progress-notify-interval", "compaction-batch-limit", "compaction-sleep-interval"):
                    name = "experimental-" + name
            out.append(f"--{name}={value}")
        return out

    # ---- members ----

    def _node(self, kind):
        self.count += 1
        node = Node(self, f"m{self.count}", kind)
        self.nodes.append(node)
        return node

    def initial_cluster(self, nodes=None):
        return ",".join(f"{n.name}={n.peer_url}" for n in (nodes or self.nodes))

    def found(self, wait=True):
        """Starts all members as a new cluster."""
        for n in self.nodes:
            n.initial = self.initial_cluster()
        for n in self.nodes:
            n.start()
        if wait:
            self.wait_ready()
        return self

    @property
    def live(self):
        return [n for n in self.nodes if n.running]

    @property
    def endpoints(self):
        return [n.endpoint for n in self.nodes]

    def wait_ready(self, seconds=WAIT_SECONDS):
        for n in self.live:
            n.wait_ready(seconds)
        return self

    def leader(self):
        """The member that says it leads, in the highest term; None if nobody does."""
        best, term = None, -1
        for n in self.live:
            s = n.status(1)
            if s["code"] == "OK" and s["leader"] == s["member"] and s["term"] > term:
                best, term = n, s["term"]
        return best

    def wait_leader(self, seconds=WAIT_SECONDS, other_than=None):
        found = []

        def led():
            leader = self.leader()
            if leader and leader is not other_than:
                found[:] = [leader]
                return True
            return leader
        wait_until(led, "a leader is there", seconds)
        return found[0]

    def followers(self):
        leader = self.wait_leader()
        return [n for n in self.live if n is not leader]

    def lead(self, node, seconds=WAIT_SECONDS):
        """Makes a member the leader."""
        def led():
            leader = self.leader()
            if leader is node:
                return True
            if leader:
                node.status()
                return self.ctl.call("move", leader, 5, ID=node.id)
            return "no leader"
        wait_until(led, f"{node} leads", seconds, every=0.1)
        return node

    def call(self, do, seconds=WAIT_SECONDS, **fields):
        """A call to any member until one does it. For calls that do no harm when they are done twice."""
        answer, done = {}, []

        def tried():
            for n in self.live:
                answer[n.name] = self.ctl.call(do, n, 5, **fields)
                if answer[n.name]["code"] == "OK":
                    done.append(answer[n.name])
                    return True
            return answer
        wait_until(tried, do, seconds, every=0.1)
        return done[0]

    def members(self):
        return self.call("members")["members"]

    def add(self, kind, learner=False, start=True, extra=(), seconds=WAIT_SECONDS):
        """Adds a member and starts it; a refusal for health is tried again until the time is over."""
        node = self._node(kind)
        self.nodes.remove(node)

        # What follows may have no majority before the new member runs: no linearizable list.
        members = []

        def added():
            leader = self.leader() or self.live[0]
            answer = self.ctl.call("add", leader, 10, URLs=[node.peer_url], Learner=learner)
            if answer["code"] == "OK":
                members[:] = answer["members"]
                node.id = answer["id"]
                return True
            listed = self.ctl.call("members", leader, 5, Serial=True)
            for m in listed.get("members", []):
                if node.peer_url in m["peer_urls"]:  # an answer was lost
                    members[:] = listed["members"]
                    node.id = m["id"]
                    return True
            return answer
        wait_until(added, f"{node} is added", seconds, every=0.2)
        names = {n.peer_url: n.name for n in [*self.nodes, node]}
        node.initial = ",".join(f"{names[u]}={u}" for m in members for u in m["peer_urls"])
        node.state = "existing"
        self.nodes.append(node)
        if start:
            # It asks the members one after the other who is in the cluster, takes the first answer, and ends if it is
            # not in there: none may be behind.
            wait_until(lambda: self._tell_of(node), f"all members that answer tell of {node}", seconds)
            node.start(extra=extra)
            node.wait_ready(seconds)
        return node

    def _tell_of(self, node):
        """True if each member that answers its peers tells of `node`; else who does not."""
        behind = []
        for n in self.live:
            if n is node:
                continue
            try:
                with urllib.request.urlopen(n.peer_listen + "/members", timeout=1) as r:
                    if not any(node.peer_url in m["peerURLs"] for m in json.load(r)):
                        behind.append(str(n))
            except OSError:  # the new member goes on to the next one, too
                pass
        return behind or True

    def promote(self, node, seconds=WAIT_SECONDS):
        def promoted():
            leader = self.leader() or self.live[0]
            answer = self.ctl.call("promote", leader, 10, ID=node.id)
            if answer["code"] == "OK" or "can only promote a learner" in answer["message"]:
                return True
            return answer
        return wait_until(promoted, f"{node} is promoted", seconds, every=0.1)

    def remove(self, node, seconds=WAIT_SECONDS, stop=True):
        """Removes a member; it must end by itself if it is there to hear of it."""
        def gone():
            if node.id not in [m["id"] for m in self.members()]:
                return True
            leader = self.leader() or self.live[0]
            answer = self.ctl.call("remove", leader, 10, ID=node.id)
            return answer["code"] == "OK" or answer
        if node.id is None:
            node.status()
        wait_until(gone, f"{node} is removed", seconds, every=0.2)
        node.removed = True
        self.nodes.remove(node)
        if stop and node.running:
            node.wait_exit()
        return node

    # ---- agreement ----

    def wait_in_sync(self, seconds=WAIT_SECONDS, nodes=None):
        """Until all members have applied what the leader has committed now. Returns the seconds."""
        wanted = []
        nudged = [time.monotonic()]

        def there():
            leader = self.leader()
            if leader is None:
                return "no leader"
            if not wanted:
                s = leader.status()
                if s["code"] != "OK":
                    return s
                wanted.append(s["index"])
            behind = {}
            for n in nodes or self.live:
                s = n.status()
                if s["code"] != "OK" or s["applied"] < wanted[0]:
                    behind[n.name] = s.get("applied", s)
            if behind and time.monotonic() - nudged[0] > 1:
                # A real member that has received a snapshot tells of it with the next entry only: here is one.
                nudged[0] = time.monotonic()
                self.ctl.call("revoke", leader, 5, Lease=0x7fffffff)
            return True if not behind else f"{behind} of {wanted[0]}"
        return wait_until(there, "all members are in sync", seconds)

    def check_hashes(self, seconds=WAIT_SECONDS):
        """HashKV of all members at one revision, with one compaction, is equal. Returns (hash, revision, compacted)."""
        self.wait_in_sync(seconds)
        revision = max(n.status()["revision"] for n in self.live)
        seen = {}

        def equal():
            for n in self.live:
                h = self.ctl.call("hashkv", n, 20, Revision=revision)
                if h["code"] != "OK":
                    return f"{n}: {h}"
                seen[n] = (h["hash"], h["compacted"])
            if len({c for _, c in seen.values()}) > 1:
                return f"compacted differently: {text()}"  # a compaction may still run
            return True

        def text():
            return ", ".join(f"{n}: {h}" for n, h in seen.items())
        wait_until(equal, f"HashKV at {revision}", seconds, every=0.2)
        if len({h for h, _ in seen.values()}) > 1:
            raise Failure(f"HashKV at revision {revision} differs: {text()}")
        h, c = next(iter(seen.values()))
        return h, revision, c

    def check_members(self):
        """All members tell one list, without alarms."""
        lists = {}
        for n in self.live:
            answer = self.ctl.call("members", n, 10, Serial=True)
            if answer["code"] == "OK":
                lists[n] = sorted(json.dumps(m, sort_keys=True) for m in answer["members"])
        if len({tuple(v) for v in lists.values()}) > 1:
            raise Failure("the members' lists differ:\n" + "\n".join(f"{n}: {v}" for n, v in lists.items()))
        alarms = self.call("alarm", Action="GET")["alarms"]
        expect(not alarms, f"alarms: {alarms}")

    def bad_lines(self, node, allow=None):
        """What a real member says that may be our doing, since the last time it was asked."""
        since = self.marks.get(node.name, 0)
        bad = []
        for at, line in node.log_lines(since):
            self.marks[node.name] = at
            text = json.dumps(line, ensure_ascii=False)
            msg, level = line.get("msg", ""), line.get("level", "")
            if allow and re.search(allow, text):
                continue
            about = (ABOUT_MESSAGES.search(msg) and level not in ("info", "debug")
                     and not (OVER_A_LINE.search(msg) and LINE_BROKEN.search(str(line.get("error", "")))))
            if about or (level in ("error", "dpanic", "panic", "fatal") and not HARMLESS.search(text)):
                bad.append(text)
        return bad

    def check_logs(self, allow=None, kinds=("3.5", "3.6", "3.7")):
        """No real member complains of what it was sent. Members that have changed their kind count by what they are."""
        for n in Member.members:
            if isinstance(n, Node) and n.cluster is self and n.kind in kinds and n.log.exists():
                bad = self.bad_lines(n, allow)
                if bad:
                    raise Failure(f"{n} logged:\n" + "\n".join(line[:600] for line in bad[:20]))

    def check_end(self, load=None, allow=None):
        """All that must hold when the faults are over."""
        self.wait_ready()
        checked = load.check() if load else None
        h = self.check_hashes()
        self.check_members()
        self.check_logs(allow)
        return checked, h

    def stop(self):
        """Stops all members at once, as an operator would: each waits for the others otherwise to take the lead."""
        for n in self.live:
            n.release_disk()
            n.process.send_signal(signal.SIGTERM)
        for n in self.nodes:
            if n.process:
                code = n.wait_exit()
                expect(code in (0, -signal.SIGTERM, -signal.SIGKILL), f"{n} ended with {code}")

    def close(self):
        for n in Member.members:
            if isinstance(n, Node) and n.cluster is self:
                n.end()
        self.ctl.close()
        self.network.close()


class Load:
    """Clients that write, read and watch at all members (go/interop/cluster.go)."""

    def __init__(self, cluster, seed=1, endpoints=None, **flags):
        self.cluster = cluster
        args = [cluster.tools.interop, "cluster", "--endpoints", ",".join(endpoints or cluster.endpoints), "--seed", seed]
        for name, value in flags.items():
            args.append(f"--{name}={value}")
        self.child = Conversation(args)

    def ask(self, line, timeout=150):
        return self.child.ask(line, timeout)

    def run(self):
        self.ask("run")
        return self

    def pause(self):
        self.ask("pause")

    def fill(self, n):
        self.ask(f"fill {n}")

    def follow(self):
        """The members of the cluster have changed."""
        self.ask("endpoints " + ",".join(self.cluster.endpoints))

    def mark(self):
        self.ask("mark")

    def outage(self, writes=50):
        """(longest time since the mark without an acknowledged write, median of a write), in seconds."""
        longest, usual = self.ask(f"outage {writes}")
        return int(longest) / 1000, int(usual) / 1e6

    def stats(self):
        return dict(zip(("requests", "lost", "failed", "unknown"), map(int, self.ask("stats"))))

    def compact(self):
        self.ask("compact")

    def check(self):
        names = ("revision", "attempts", "acknowledged", "unknown", "events", "leases")
        return dict(zip(names, map(int, self.ask("check", timeout=400))))

    def close(self):
        self.child.close()


def build_slowdisk(folder):
    """The program of slowdisk.c; skips where there is no compiler or the kernel does not let it."""
    out = folder / "slowdisk"
    if not out.exists():
        try:
            run(["cc", "-O1", "-o", out, pathlib.Path(__file__).with_name("slowdisk.c")])
        except FileNotFoundError:
            raise Skip("no C compiler (cc) for the disk that hangs") from None
        if run([out, folder / "none", "true"], check=False).returncode != 0:
            raise Skip("this kernel does not hand system calls to a supervisor (seccomp, Linux 5.5)")
    return out


def kinds_of(args):
    kinds = args.members.split(",")
    for k in kinds:
        if k not in KINDS:
            raise Failure(f"--members: {k} is none of {', '.join(KINDS)}")
    return kinds


def add_arguments(parser, members="quoin,quoin,quoin", network="auto"):
    parser.add_argument("--members", default=members, help="the kinds of the members: quoin, 3.5, 3.6, 3.7")
    parser.add_argument("--seed", type=int, default=0, help="0: any")
    networks.add_argument(parser, network)


__all__ = ["Cluster", "Conversation", "Ctl", "Load", "Node", "add_arguments", "die_with_parent", "kinds_of", "seed_of",
           "run", "wait_until"]
