#!/usr/bin/env python3
"""What an operator sees of a member's life, beside a real etcd 3.6: the log lines of starting, restarting, stopping
and failing to start, and the exit codes. Lines are compared as a multiset of level, logger, message, ordered field
names and, where a value does not depend on the moment or the process, values; then the order of the main steps.

What is compared of a line is printed as it would stand in the log, with the folder and the ports replaced by words."""

import collections
import fcntl
import json
import os
import pathlib
import re
import shutil
import signal
import socket
import stat
import subprocess
import sys
import time
import urllib.error
import urllib.request

sys.path.insert(0, str(pathlib.Path(__file__).resolve().parent.parent / "lib"))
from members import DIFFERENCES, Failure, die_with_parent, drive, expect, free_port  # noqa: E402

READY = "serving client traffic insecurely; this is strongly discouraged!"

# Values of the moment, of the machine or of the program itself: only their names are compared.
VOLATILE = {
    "took", "go-version", "git-sha", "stacktrace", "backend-size-bytes", "backend-size", "backend-size-in-use-bytes",
    "backend-size-in-use", "commit-index", "local-member-applied-index", "local-member-snapshot-index",
    "snapshot-index", "download-took", "consistent-index", "snapshot-size", "total-bytes", "size", "current-db-size-bytes", "current-db-size",
    "current-db-size-in-use-bytes", "current-db-size-in-use", "current-db-size-bytes-diff", "current-db-size-in-use-bytes-diff",
}
# Of these messages the text itself depends on how far the log had come.
TEXT_NUMBERS = re.compile(r"commit: \d+|applied: \d+|lastindex: \d+|term \d+|term: \d+|lastterm: \d+|index: \d+")

# The main steps of a life, in the order a runbook reads them. Lines that etcd's goroutines write at the same time
# (published, serving peers, metrics and clients) are left out.
STEPS = [
    "Running: ", "'data-dir' was empty; using default", "server has already been initialized", "Initialize and start etcd server",
    "configuring socket options", "configuring peer listeners", "configuring client listeners", "starting an etcd server", "opened backend db",
    "db file is flocked by another process, or taking too long", "No snapshot found. Recovering WAL from scratch!", "restarting local member", "starting local member",
    "bootstrap successfully", "kvstore restored", "enabled backend quota with default value", "starting etcd server",
    READY,
    "received signal; shutting down", "closing etcd server", "skipped leadership transfer for single voting member cluster",
    "stopping serving peer traffic", "stopped serving peer traffic", "closed etcd server", "bootstrap failed", "discovery failed",
]


class Life:
    """One program's run of a scenario: its folder, its ports, and what it wrote."""

    def __init__(self, name, program, tools, folder):
        self.name = name
        self.program = program
        self.tools = tools
        self.folder = folder
        folder.mkdir(parents=True)
        self.data = folder / "data"
        self.client, self.peer, self.metrics = free_port(), free_port(), free_port()
        self.log = folder / "log"
        self.codes = []
        self.process = None

    @property
    def endpoint(self):
        return f"127.0.0.1:{self.client}"

    def flags(self):
        return ["--name", "m1", "--data-dir", str(self.data), "--listen-client-urls", f"http://{self.endpoint}",
                "--advertise-client-urls", "http://127.0.0.1:2", "--listen-peer-urls", f"http://127.0.0.1:{self.peer}",
                "--initial-advertise-peer-urls", "http://127.0.0.1:1", "--initial-cluster", "m1=http://127.0.0.1:1"]

    def start(self, *more, flags=None, env=None):
        command = [*map(str, self.program), *(self.flags() if flags is None else flags), *more]
        environment = {k: v for k, v in os.environ.items() if not k.startswith("ETCD_") and k != "NOTIFY_SOCKET"}
        with open(self.log, "ab") as log:
            self.process = subprocess.Popen(command, stdout=log, stderr=log, stdin=subprocess.DEVNULL, cwd=self.folder,
                                            env={**environment, **(env or {})}, preexec_fn=die_with_parent)

    def wait_ready(self, seconds=60):
        deadline = time.monotonic() + seconds
        while time.monotonic() < deadline:
            if self.process.poll() is not None:
                raise Failure(f"{self.name} ended with {self.process.returncode}:\n{self.log.read_text()[-3000:]}")
            try:
                with urllib.request.urlopen(f"http://{self.endpoint}/version", timeout=2) as r:
                    version = json.loads(r.read())
                if version.get("storage") == version["etcdcluster"]:
                    # The member tells the init daemon at the same moment; everything is told a little later.
                    time.sleep(0.3)
                    return
            except (OSError, ValueError):
                pass
            time.sleep(0.03)
        raise Failure(f"{self.name} was not ready:\n{self.log.read_text()[-3000:]}")

    def end(self, number=signal.SIGTERM, seconds=30):
        self.process.send_signal(number)
        self.wait(seconds)

    def wait(self, seconds=30):
        try:
            self.codes.append(self.process.wait(seconds))
        except subprocess.TimeoutExpired:
            self.process.kill()
            self.process.wait()
            raise Failure(f"{self.name} did not end within {seconds} s:\n{self.log.read_text()[-3000:]}") from None

    def kill(self):
        if self.process is not None and self.process.poll() is None:
            self.process.kill()
            self.process.wait()

    def etcdctl(self, *args):
        return subprocess.run([str(self.tools.oracle), "etcdctl", "--endpoints", self.endpoint, *args], check=True,
                              stdout=subprocess.PIPE, stderr=subprocess.PIPE, timeout=30, preexec_fn=die_with_parent)

    # ---- what was written, as it is compared ----

    def words(self, text):
        """The folder, the ports and the program's name replaced."""
        text = text.replace(str(self.folder), "DIR")
        for port, word in ((self.client, "CLIENT"), (self.peer, "PEER"), (self.metrics, "METRICS")):
            text = re.sub(rf"\b{port}\b", word, text)
        text = re.sub(r"(and with options: ).*\}", r"\1{*}", text)  # of bbolt's, most of which mean nothing elsewhere
        text = re.sub(r"(127\.0\.0\.1:[A-Z]+)->127\.0\.0\.1:\d+", r"\1->FROM", text)
        return TEXT_NUMBERS.sub(lambda m: re.sub(r"\d+$", "#", m.group()), text)

    def value(self, key, value):
        if key in VOLATILE:
            return "*"
        if key == "args":  # without the program and what leads to it
            return value[next((i for i, a in enumerate(value) if a.startswith("-")), len(value)):]
        return value

    def lines(self):
        out = []
        for text in self.log.read_text().splitlines():
            if text.startswith("{"):
                pairs = json.loads(text, object_pairs_hook=list)
                head = {k: v for k, v in pairs if k in ("level", "logger", "msg")}
                # `args` is ordered text; whatever is an object inside stays as it is.
                fields = [(k, self.value(k, v)) for k, v in pairs if k not in ("level", "logger", "msg", "ts", "caller")]
                order = [k for k, _ in pairs if k in ("level", "ts", "logger", "caller", "msg")]
                if order != [k for k in ("level", "ts", "logger", "caller", "msg") if k in order]:
                    fields.append(("ORDER", order))
                out.append((head["level"], head.get("logger", ""), self.words(head["msg"]), self.words(json.dumps(fields))))
                continue
            parts = text.split("\t")
            if len(parts) >= 4 and re.match(r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d\.\d{6}(Z|[+-]\d{4})$", parts[0]):
                at = 2 if re.search(r"\.\w+:\d+$", parts[2]) else 3
                fields = []
                if len(parts) > at + 2:
                    fields = [(k, self.value(k, v)) for k, v in json.loads(parts[at + 2], object_pairs_hook=list)]
                    # A blank after every colon and comma, as zap's console form has it.
                    if parts[at + 2] != "{" + ", ".join(re.findall(r'"[^"]*": (?:"(?:[^"\\]|\\.)*"|\[[^]]*\]|[^,}]+)', parts[at + 2])) + "}":
                        fields.append(("FORM", parts[at + 2]))
                out.append((parts[1], parts[2] if at == 3 else "", self.words(parts[at + 1]), self.words(json.dumps(fields))))
                continue
            if text.strip() and not text.startswith(("\t", "goroutine ", "quoin")) and not re.match(r"[\w./]+(\.\(?\*?\w+\)?)+\w*(\(.*\))?$", text):
                out.append(("", "", "plain: " + self.words(text), ""))
        return out


# ---- the scenarios ------------------------------------------------------------------------------------------

def first_and_restart(life):
    """An empty directory, some writes, SIGTERM; the same directory again, SIGINT; again after SIGKILL."""
    life.start()
    life.wait_ready()
    life.etcdctl("put", "a", "1")
    life.etcdctl("get", "a")
    life.end()
    life.start()
    life.wait_ready()
    life.end(signal.SIGINT)
    life.start()
    life.wait_ready()
    life.kill()
    life.start()
    life.wait_ready()
    life.end()


def open_watch(life):
    """SIGTERM while a watch is open."""
    life.start()
    life.wait_ready()
    watch = subprocess.Popen([str(life.tools.oracle), "etcdctl", "--endpoints", life.endpoint, "watch", "a"],
                             stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL, preexec_fn=die_with_parent)
    time.sleep(1)
    begin = time.monotonic()
    life.end()
    watch.kill()
    watch.wait()
    expect(time.monotonic() - begin < 15, f"{life.name} took {time.monotonic() - begin:.1f} s to stop with an open watch")


def port_used(which):
    def scenario(life):
        with socket.socket() as s:
            s.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            s.bind(("127.0.0.1", getattr(life, which)))
            s.listen(1)
            life.start("--listen-metrics-urls", f"http://127.0.0.1:{life.metrics}")
            life.wait()
        there = life.data.exists()
        expect(there == (which == "metrics"), f"{life.name}: the data directory is {'' if there else 'not '}there")
    scenario.__doc__ = f"The {which} port is somebody else's: nothing of the data directory may be touched."
    return scenario


def bad_cluster(life):
    """--initial-cluster that does not fit."""
    base = life.flags()[:-1]
    for cluster in ("other=http://127.0.0.1:1", "m1=http://127.0.0.1:9", "m1=http://127.0.0.1:1,m1=http://127.0.0.1:9", "m1", "m1=ftp://127.0.0.1:1",
                    "m1=http://127.0.0.1:1,m2=http://127.0.0.1:1"):
        # Most of these are found when the database is open already.
        shutil.rmtree(life.data, ignore_errors=True)
        life.start(flags=[*base, cluster])
        life.wait()


def console(life):
    life.start("--log-format", "console")
    life.wait_ready()
    life.end()


def deprecated(life):
    life.start("--experimental-warning-apply-duration", "1s", "--max-snapshots", "3", "--v2-deprecation", "gone",
               "--experimental-compaction-batch-limit", "200", "--snapshot")
    life.wait_ready()
    life.end()


def environment(life):
    flags = life.flags()
    life.start(flags=flags[2:], env={"ETCD_NAME": "m1", "ETCD_SNAPSHOT_COUNT": "5000", "ETCD_NONSENSE": "1"})
    life.wait_ready()
    life.end()
    life.start(env={"ETCD_NAME": "m1"})
    life.wait()
    life.start(env={"ETCD_HEARTBEAT_INTERVAL": "x"})
    life.wait()


def metrics_and_options(life):
    """Metrics URLs, socket options, a quota, an explicit compactor."""
    life.start("--listen-metrics-urls", f"http://127.0.0.1:{life.metrics}", "--socket-reuse-port", "--socket-reuse-address",
               "--quota-backend-bytes", "1073741824", "--auto-compaction-retention", "1h", "--snapshot-count", "50",
               "--grpc-keepalive-min-time", "1s")
    life.wait_ready()
    life.end()
    life.start("--quota-backend-bytes", "-1")
    life.wait_ready()
    life.end()
    life.start("--quota-backend-bytes", "9000000000", "--max-request-bytes", "20000000")
    life.wait_ready()
    life.end()


def strange_directory(life):
    """Files that do not belong there, open permissions; a proxy's directory; both."""
    life.data.mkdir()
    os.chmod(life.data, 0o755)
    (life.data / "notes.txt").write_text("x")
    (life.data / "backup").mkdir()
    life.start()
    life.wait_ready()
    life.end()
    (life.data / "proxy").mkdir()
    life.start()
    life.wait()
    only = life.folder / "only"
    (only / "proxy").mkdir(parents=True)
    flags = life.flags()
    flags[flags.index("--data-dir") + 1] = str(only)
    life.start(flags=flags)
    life.wait()
    empty = life.folder / "file"
    empty.write_text("x")
    flags[flags.index("--data-dir") + 1] = str(empty)
    life.start(flags=flags)
    life.wait()


def notify(life):
    """The init daemon's socket."""
    path = str(life.folder / "notify")
    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as s:
        s.bind(path)
        s.settimeout(20)
        life.start(env={"NOTIFY_SOCKET": path})
        said = s.recv(100)
        expect(said == b"READY=1", f"{life.name} told the init daemon {said!r}")
    life.wait_ready()
    life.end()
    life.start(env={"NOTIFY_SOCKET": str(life.folder / "nobody")})
    life.wait_ready()
    life.end()


def names(life):
    """Everything left at its default but the ports."""
    flags = life.flags()
    life.start(flags=flags[4:8] + flags[8:10])
    life.wait_ready()
    life.end()


def unix_socket(life):
    flags = life.flags()
    flags[flags.index("--listen-client-urls") + 1] += ",unix://client.sock"
    life.start(flags=flags)
    life.wait_ready()
    there = stat.S_ISSOCK(os.stat(life.folder / "client.sock").st_mode)
    expect(there, f"{life.name}: no socket")
    life.end()
    expect(not (life.folder / "client.sock").exists(), f"{life.name} left its socket file")


def early_signal(life):
    """A database that somebody else has locked: the start waits, and a signal ends it at once and without a word."""
    life.start()
    life.wait_ready()
    life.end()
    with open(life.data / "member" / "snap" / "db", "rb+") as db:
        fcntl.flock(db, fcntl.LOCK_EX)
        life.start()
        time.sleep(1)
        life.end()
        life.start()
        time.sleep(11.5)  # after ten seconds it says what it waits for
        life.end(signal.SIGINT)
    life.start()
    life.wait_ready()
    life.end()


def maintenance(life):
    """What an operator does to a running member: compaction, defragmentation, a backup, health asked wrongly."""
    life.start("--quota-backend-bytes", "16777216", "--snapshot-count", "20")
    life.wait_ready()
    for i in range(30):
        life.etcdctl("put", "a", str(i))
    life.etcdctl("compact", "20")
    time.sleep(1)
    life.etcdctl("defrag")
    life.etcdctl("snapshot", "save", str(life.folder / "backup.db"))
    life.etcdctl("alarm", "list")
    life.etcdctl("endpoint", "hashkv")
    for path in ("/readyz?exclude=nothing", "/health?exclude=x"):
        urllib.request.urlopen(f"http://{life.endpoint}{path}", timeout=5).read()
    request = urllib.request.Request(f"http://{life.endpoint}/health", data=b"")
    try:
        urllib.request.urlopen(request, timeout=5)
    except urllib.error.HTTPError:
        pass
    time.sleep(0.3)
    life.end()
    life.start("--auto-compaction-mode", "revision", "--auto-compaction-retention", "5")
    life.wait_ready()
    life.end()
    # Nothing is written any more, so whenever the compactor looks, it compacts at the same revision.
    life.start("--auto-compaction-retention", "2s")
    life.wait_ready()
    deadline = time.monotonic() + 20
    while "completed auto periodic compaction" not in life.log.read_text() or life.log.read_text().count("storing new hash") < 2:
        expect(time.monotonic() < deadline, f"{life.name} did not compact by itself")
        time.sleep(0.1)
    life.end()


def few_descriptors(life):
    """A limit that leaves clients no descriptor."""
    command = life.program
    life.program = ["prlimit", "--nofile=150:150", *command]
    life.start()
    life.wait()
    life.program = command


SCENARIOS = {
    "life": first_and_restart, "watch": open_watch, "client-port": port_used("client"), "peer-port": port_used("peer"),
    "metrics-port": port_used("metrics"), "cluster": bad_cluster, "console": console, "deprecated": deprecated,
    "environment": environment, "options": metrics_and_options, "directory": strange_directory, "notify": notify,
    "defaults": names, "unix": unix_socket, "early-signal": early_signal, "maintenance": maintenance, "descriptors": few_descriptors,
}


# Scenarios in which a real one has done more, or less, of its start when it gives up: of the info lines only the
# main steps are compared.
STEPS_ONLY = {
    "metrics-port": {"failed to publish local member to cluster through raft", "stopped publish because server is stopping"},
    "cluster": {"opened backend db"},
    "early-signal": set(),
}


# ---- the comparison -----------------------------------------------------------------------------------------

def known():
    return set(re.findall(r"(?m)^- `(logs/[^`]+)`: ", DIFFERENCES.read_text()))


def steps_of(lines):
    return [m for _, _, m, _ in lines if m in STEPS]


def compare(scenario, ours, real, report):
    if ours.codes != real.codes:
        report(f"logs/exit/{scenario}", f"ours {ours.codes}, real {real.codes}")
    a, b = ours.lines(), real.lines()
    if scenario in STEPS_ONLY:
        a, b = ([line for line in lines if (line[2] in STEPS or line[0] != "info") and line[2] not in STEPS_ONLY[scenario]]
                for lines in (a, b))
    only_a, only_b = collections.Counter(a), collections.Counter(b)
    only_a, only_b = only_a - only_b, only_b - only_a
    by_message = collections.defaultdict(lambda: ([], []))
    for side, counter in ((0, only_a), (1, only_b)):
        for line in counter.elements():
            by_message[line[2]][side].append(line)
    for message, (mine, theirs) in sorted(by_message.items()):
        # What stands in one line is one name in differences.md: without the parts that vary.
        key = re.sub(r"[0-9a-f]{14,16}", "ID", message)
        key = re.sub(r"\[[^]]*\]|\(.*\)", "", key.replace("`", "'"))[:80].strip()
        kind = "fields" if mine and theirs and len(mine) == len(theirs) else "extra" if len(mine) > len(theirs) else "missing"
        shown = "\n".join(f"    {who} {' '.join(filter(None, line))}" for who, lines in (("ours", mine), ("real", theirs)) for line in lines[:3])
        report(f"logs/{kind}/{key}@{scenario}", f"{scenario}: {len(mine)} of ours and {len(theirs)} of the real one have no twin\n{shown}")
    x, y = steps_of(a), steps_of(b)
    common = set(x) & set(y)
    x, y = [s for s in x if s in common], [s for s in y if s in common]
    if x != y and sorted(x) == sorted(y):
        at = next(i for i, (p, q) in enumerate(zip(x, y)) if p != q)
        report(f"logs/order/{scenario}", f"from step {at}: ours {x[at:at + 6]}\n  real {y[at:at + 6]}")


def main(tools, args, folder):
    listed = known()
    failures, seen = [], set()

    def report(name, text):
        # With the scenario's name behind it an entry holds for that one, without for all.
        for listed_as in (name, name.rpartition("@")[0]):
            if listed_as in listed:
                if listed_as not in seen:
                    print(f"known difference {listed_as}")
                seen.add(listed_as)
                return
        print(f"DIFFERENCE {name}\n  {text}")
        failures.append(name)

    for name, scenario in SCENARIOS.items():
        if args.only and name not in args.only.split(","):
            continue
        lives = []
        for who, program in (("ours", tools.ours), ("real", tools.real)):
            life = Life(who, program, tools, folder / name / who)
            lives.append(life)
            try:
                scenario(life)
            finally:
                life.kill()
        compare(name, *lives, report)
        print(f"{name}: {len(lives[1].lines())} lines compared", flush=True)
    if failures:
        raise Failure(f"{len(failures)} differences")


drive(main, __doc__, lambda p: p.add_argument("--only", help="scenarios, separated by commas"), needs=("oracle-3.6",))
