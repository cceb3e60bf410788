#!/usr/bin/env python3
"""etcdutl beside the real one of 3.6: the same command lines on copies of the same files give the same bytes on
standard output and standard error and the same exit code (times, places in the source and Go's stack traces masked).
What restores leave is compared file by file; members of both programs start on what either has restored, alone and
as three."""

import json
import os
import pathlib
import pty
import re
import shutil
import signal
import subprocess
import sys
import time

sys.path.insert(0, str(pathlib.Path(__file__).resolve().parent.parent / "lib"))
from members import Member, die_with_parent, drive, expect, free_port, run  # noqa: E402

BUCKETS = ["alarm", "auth", "authRoles", "authUsers", "cluster", "key", "lease", "members", "members_removed", "meta"]

TIME = re.compile(r"^\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d(?:Z|[+-]\d\d:\d\d)\t", re.M)
CALLER = re.compile(r"\t[A-Za-z0-9_@.]+/[A-Za-z0-9_]+\.(?:go|cc):\d+\t")
TOOK = re.compile(r'"took": "[^"]*"')
BBOLT = re.compile(r"^TIME\t[a-z]+\tbbolt\t.*\n", re.M)
TRACE = re.compile(r"^(?:\S+\n\t/\S+\.go:\d+(?: \+0x[0-9a-f]+)?\n)+", re.M)


def masked(text):
    """Without what differs from run to run, and without the lines of a library that only the real one has."""
    text = TIME.sub("TIME\t", text)
    text = BBOLT.sub("", text)
    text = CALLER.sub("\tCALLER\t", text)
    text = TRACE.sub("", text)
    return TOOK.sub('"took": "TOOK"', text)


class Pair:
    """Both programs, each in a folder of its own that holds the same files."""

    def __init__(self, tools, folder):
        self.ours = tools.ours[0].parent / "etcdutl"
        expect(self.ours.exists(), f"no program at {self.ours}")
        self.real = [tools.oracle, "etcdutl"]
        self.folders = {"real": folder / "real", "ours": folder / "ours"}
        for f in self.folders.values():
            f.mkdir(parents=True)
        self.compared = 0

    def put(self, name, source):
        for f in self.folders.values():
            if pathlib.Path(source).is_dir():
                shutil.copytree(source, f / name)
            else:
                shutil.copyfile(source, f / name)
                os.chmod(f / name, 0o600)

    def write(self, name, data):
        for f in self.folders.values():
            (f / name).write_bytes(data)

    def remove(self, *names):
        for f in self.folders.values():
            for name in names:
                shutil.rmtree(f / name, ignore_errors=True)
                if (f / name).is_file():
                    (f / name).unlink()

    def run_one(self, who, args, stdin=None):
        program = [self.ours] if who == "ours" else self.real
        return run([*program, *args], check=False, cwd=self.folders[who], stdin=stdin)

    def same(self, *args):
        """Runs both and compares all they said. Returns what ours did."""
        real, ours = self.run_one("real", args), self.run_one("ours", args)
        self.compared += 1
        for what, a, b in (("exit code", real.returncode, ours.returncode), ("standard output", real.stdout, ours.stdout),
                           ("standard error", masked(real.stderr), masked(ours.stderr))):
            expect(a == b, f"etcdutl {' '.join(args)}: {what} of the real one\n{a}\nof ours\n{b}")
        return ours


# ---- the files --------------------------------------------------------------------------------------------

def make_snapshots(tools, folder):
    """A real member with a little of everything; returns its snapshot, and that of a time when no key had a lease."""
    member = Member(folder / "source", ["--snapshot-count", "20"]).start(tools.real)
    for i in range(30):
        tools.etcdctl(member, "put", f"key{i}", f"value {i}")
    tools.etcdctl(member, "del", "key3")
    tools.etcdctl(member, "compaction", "10")
    tools.etcdctl(member, "put", "key4", "again")
    tools.etcdctl(member, "role", "add", "reader")
    tools.etcdctl(member, "user", "add", "ann:secret")
    lease = tools.etcdctl(member, "lease", "grant", "6000").stdout.split()[1]
    plain, leased = folder / "plain.snap", folder / "leased.snap"
    tools.etcdctl(member, "snapshot", "save", plain)
    tools.etcdctl(member, "put", f"--lease={lease}", "leased", "x")
    tools.etcdctl(member, "snapshot", "save", leased)
    member.stop()
    return member, plain, leased


# ---- command lines ----------------------------------------------------------------------------------------

def command_lines(pair):
    """What does not depend on files."""
    for line in ("snapshot", "snapshot -h", "snapshot foo", "snapshot save x", "snapshot status", "snapshot status nope",
                 "snapshot status a b", "snap stat nope", "snapshot restore", "snapshot restore --foo", "snapshot restore -h",
                 "snapshot status -h", "help snapshot restore", "hashkv", "hashkv a b", "hashkv nope", "hashkv nope --rev x",
                 "hashkv -w foo nope", "hashkv -h", "foo", "defrag", "defrag --data-dir nope", "defrag -h", "version",
                 "version -w foo", "vers", "version extra", "migrate", "migrate --data-dir nope", "migrate -h",
                 "migrate --data-dir nope --target-version 3.6", "migrate --data-dir nope --target-version 3.6.1",
                 "migrate --data-dir nope --target-version 3", "migrate --data-dir nope --target-version 3.4",
                 "migrate --data-dir nope --target-version a.b", "migrate --data-dir nope --target-version 03.5",
                 "migrate --data-dir nope --target-version 3.6-x", "hashkv -w", "snapshot status -x nope",
                 "snapshot status -wjson nope", "help version", "snapshot status -- --nope", "completion", "completion -h",
                 "completion tcsh", "completion bash zsh"):
        pair.same(*line.split())


def reading(pair):
    for name in ("plain.snap", "leased.snap", "data/member/snap/db"):
        for w in ("simple", "table", "json", "fields", "protobuf", "nonsense"):
            pair.same("snapshot", "status", name, "-w", w)
    for w in ("simple", "table", "json", "fields", "protobuf"):
        pair.same("hashkv", "plain.snap", "-w", w)
    for revision in ("-1", "1", "9", "10", "11", "20", "35", "1000"):
        pair.same("hashkv", "plain.snap", "--rev", revision)
    # The real one writes to the file; ours must not.
    before = (pair.folders["ours"] / "plain.snap").read_bytes()
    expect(pair.run_one("ours", ["snapshot", "restore", "plain.snap", "--data-dir", "after"]).returncode == 0,
           "a snapshot whose hash was taken can't be restored any more")
    expect(before == (pair.folders["ours"] / "plain.snap").read_bytes(), "hashkv changed the file")
    leased = pair.run_one("ours", ["hashkv", "leased.snap"])
    expect(leased.returncode == 0 and not leased.stderr, f"hashkv of a key with a lease: {leased}")


def damaged_files(pair, plain):
    """Files that are no database: the exit code and one line that names the file."""
    whole = plain.read_bytes()
    for name, data in (("short", b"x" * 100), ("empty", b""), ("text", b"hello " * 2000), ("zeros", bytes(20000))):
        pair.write(name, data)
        real = pair.run_one("real", ["snapshot", "status", name])
        ours = pair.run_one("ours", ["snapshot", "status", name])
        expect(ours.returncode == real.returncode == 1, f"status of {name}: {real} {ours}")
        expect(ours.stderr.startswith(f"Error: {name}: ") and ours.stderr.count("\n") == 1, f"status of {name}: {ours}")
    # A page that says it is another: the findings are bbolt's.
    spoilt = bytearray(whole)
    for page in range(2, len(whole) // 4096):
        if int.from_bytes(whole[page * 4096 + 8:page * 4096 + 10], "little") == 2:
            spoilt[page * 4096] ^= 1
    pair.write("spoilt", bytes(spoilt))
    ours = pair.run_one("ours", ["snapshot", "status", "spoilt"])
    expect(ours.returncode == 1 and "snapshot file integrity check failed." in ours.stderr, f"{ours}")


# ---- restore ----------------------------------------------------------------------------------------------

def snap_meaning(path):
    """A .snap file without what readers do not need: event history and statistics."""
    data = path.read_bytes()
    begin = data.index(b'{"Root"')
    depth, in_string, i = 0, False, begin
    while True:
        c = data[i:i + 1]
        if in_string:
            i += 1 if c == b"\\" else 0
            in_string = c != b'"'
        elif c == b'"':
            in_string = True
        else:
            depth += (c == b"{") - (c == b"}")
        i += 1
        if depth == 0:
            break

    def node(n):
        children = n.get("Children")
        return {"path": n["Path"], "value": n.get("Value", ""), "children": {k: node(v) for k, v in (children or {}).items()}}
    return node(json.loads(data[begin:i])["Root"]), data[i:]


def tree_of(folder):
    return sorted((str(p.relative_to(folder)), oct(p.stat().st_mode & 0o777)) for p in folder.rglob("*"))


def compare_directories(tools, pair, name, wal=None):
    real, ours = pair.folders["real"] / name, pair.folders["ours"] / name
    expect(tree_of(real) == tree_of(ours), f"{name}: files of the real one {tree_of(real)}, of ours {tree_of(ours)}")
    for folder in {name, wal or name}:
        for path in sorted((pair.folders["real"] / folder).rglob("*.wal")):
            twin = pair.folders["ours"] / path.relative_to(pair.folders["real"])
            expect(path.read_bytes() == twin.read_bytes(), f"{path.name} differs")
    for path in real.rglob("*.snap"):
        twin = ours / path.relative_to(real)
        expect(snap_meaning(path) == snap_meaning(twin), f"{path.name}: {snap_meaning(path)} and {snap_meaning(twin)}")
    tools.check_file(ours / "member/snap/db")

    def dump(folder):
        return run([tools.oracle, "bbolt-dump", folder / "member/snap/db", *BUCKETS]).stdout
    expect(dump(real) == dump(ours), f"{name}: the databases differ\n{dump(real)}\n{dump(ours)}")


def restores(tools, pair):
    one = ["--initial-cluster", "a=http://127.0.0.1:1", "--initial-advertise-peer-urls", "http://127.0.0.1:1", "--name", "a"]
    three = ["--initial-cluster", "a=http://127.0.0.1:1,b=http://127.0.0.1:2,c=http://127.0.0.1:3",
             "--initial-advertise-peer-urls", "http://127.0.0.1:2", "--name", "b", "--initial-cluster-token", "t"]
    two_urls = ["--initial-cluster", "a=http://127.0.0.1:1,a=http://127.0.0.1:4", "--name", "a",
                "--initial-advertise-peer-urls", "http://127.0.0.1:4,http://127.0.0.1:1"]
    bump = ["--bump-revision", "1000000000", "--mark-compacted"]
    for what in ("plain.snap", "leased.snap"):
        for extra in ([], one, three, two_urls, bump, [*three, *bump], ["--skip-hash-check"], ["--wal-dir", "w"],
                      ["--initial-memory-map-size", "1048576"]):
            pair.same("snapshot", "restore", what, "--data-dir", "out", *extra)
            compare_directories(tools, pair, "out", "w" if "--wal-dir" in extra else None)
            pair.remove("out", "w")
    pair.same("snapshot", "restore", "data/member/snap/db", "--data-dir", "out", "--skip-hash-check")
    compare_directories(tools, pair, "out")
    pair.remove("out")
    pair.same("snapshot", "restore", "plain.snap")
    compare_directories(tools, pair, "default.etcd")
    pair.remove("default.etcd")
    for f in pair.folders.values():  # an empty directory is as good as none
        (f / "out").mkdir()
    pair.same("snapshot", "restore", "plain.snap", "--data-dir", "out")
    pair.remove("out")


def refused_restores(pair, plain):
    whole = plain.read_bytes()
    pair.write("wrong", whole[:-1] + bytes([whole[-1] ^ 1]))
    pair.write("cut", whole[:-32])
    pair.write("tiny", b"x")
    for line in ("plain.snap --bump-revision 5", "plain.snap --mark-compacted", "plain.snap --bump-revision -1",
                 "plain.snap --name z", "plain.snap --data-dir data", "plain.snap --wal-dir data", "plain.snap --data-dir plain.snap",
                 "nope", "wrong", "cut", "tiny", "plain.snap --initial-cluster default=http://h:1",
                 "plain.snap --initial-cluster a=ftp://h:1", "plain.snap --initial-cluster default",
                 "plain.snap --initial-cluster default=http://localhost:1,b=http://localhost:1 "
                 "--initial-advertise-peer-urls http://localhost:1",
                 "plain.snap --initial-advertise-peer-urls foo", "plain.snap --initial-advertise-peer-urls http://a",
                 "plain.snap --initial-advertise-peer-urls http://127.0.0.1:1",
                 "plain.snap --initial-cluster default=http://127.0.0.1:1,default=http://127.0.0.1:2 "
                 "--initial-advertise-peer-urls http://127.0.0.1:1"):
        args = line.split()
        if "--data-dir" not in args:
            args += ["--data-dir", "out"]
        pair.same("snapshot", "restore", *args)
        # The real one leaves what it began.
        expect(not (pair.folders["ours"] / "out").exists(), f"restore {line}: something was left behind")
        pair.remove("out")


# ---- defrag, migrate --------------------------------------------------------------------------------------

def rewriting(tools, pair):
    before = run([tools.oracle, "bbolt-dump", pair.folders["ours"] / "data/member/snap/db", *BUCKETS]).stdout
    real, ours = (pair.run_one(who, ["defrag", "--data-dir", "data"]) for who in ("real", "ours"))
    sizes = re.compile(r'"current-db-size[^:]*": (?:"[^"]*"|-?\d+)')
    expect((real.returncode, real.stdout, sizes.sub("SIZE", masked(real.stderr))) ==
           (ours.returncode, ours.stdout, sizes.sub("SIZE", masked(ours.stderr))), f"defrag: {real}\n{ours}")
    tools.check_file(pair.folders["ours"] / "data/member/snap/db")
    expect(tree_of(pair.folders["real"] / "data") == tree_of(pair.folders["ours"] / "data"), "defrag: other files")
    expect(run([tools.oracle, "bbolt-dump", pair.folders["ours"] / "data/member/snap/db", *BUCKETS]).stdout == before,
           "defrag changed the contents")
    for line in ("3.6", "3.5", "3.5", "3.6", "3.7", "3.7 --force", "3.6", "4.0", "4.0 --force", "3.5", "3.5 --force", "3.6"):
        pair.same("migrate", "--data-dir", "data", "--target-version", *line.split())
        a, b = (run([tools.oracle, "bbolt-dump", pair.folders[who] / "data/member/snap/db", "meta"]).stdout
                for who in ("real", "ours"))
        expect(a == b, f"migrate {line}: {a}\n{b}")


# ---- members ----------------------------------------------------------------------------------------------

class Restored(Member):
    """A member on a directory that was restored, one of `peers` (name to port)."""

    def __init__(self, folder, name, peers):
        super().__init__(folder)
        self.name = name
        self.peers = peers

    def command(self, program):
        return [*map(str, program), "--name", self.name, "--data-dir", str(self.data), "--listen-client-urls", self.url,
                "--advertise-client-urls", self.url, "--listen-peer-urls", f"http://127.0.0.1:{self.peers[self.name]}"]


def start_restored(tools, folder, snapshot, restorer, programs, bump):
    """`restorer` makes a directory for each of `programs`, which start on them. Their keys are checked."""
    names = [f"m{i}" for i in range(len(programs))]
    peers = {n: free_port() for n in names}
    cluster = ",".join(f"{n}=http://127.0.0.1:{p}" for n, p in peers.items())
    members = []
    for name, program in zip(names, programs):
        member = Restored(folder / name, name, peers)
        run([*restorer, "snapshot", "restore", snapshot, "--data-dir", member.data, "--name", name, "--initial-cluster", cluster,
             "--initial-advertise-peer-urls", f"http://127.0.0.1:{peers[name]}",
             *(["--bump-revision", "1000", "--mark-compacted"] if bump else [])])
        members.append(member.start(program, wait=False))
    for member in members:
        member.wait_ready()
    for member in members:
        expect(tools.etcdctl(member, "get", "key4", "--print-value-only").stdout == "again\n", "a key is missing")
        expect(len(tools.etcdctl(member, "get", "", "--prefix", "--keys-only").stdout.split()) == 29, "keys are missing")
        listed = json.loads(tools.etcdctl(member, "member", "list", "-w", "json").stdout)
        expect(sorted(m["name"] for m in listed["members"]) == names, f"members {listed}")
    revision = json.loads(tools.etcdctl(members[0], "get", "key4", "-w", "json").stdout)["header"]["revision"]
    if bump:
        expect(revision > 1000, f"revision {revision}")
        old = tools.etcdctl(members[-1], "get", "key4", "--rev", "12", check=False)
        expect("required revision has been compacted" in old.stderr, f"history is there: {old}")
        watch = tools.etcdctl(members[-1], "watch", "key4", "--rev", "12", check=False)
        expect("compacted" in watch.stderr and watch.returncode == 5, f"watch: {watch}")
    put = json.loads(tools.etcdctl(members[-1], "put", "new", "x", "-w", "json").stdout)
    expect(put["header"]["revision"] == revision + 1, f"revision {put} after {revision}")
    hashes = {tuple(json.loads(tools.etcdctl(m, "endpoint", "hashkv", "--rev", str(revision), "-w", "json").stdout)[0]["HashKV"][k]
                    for k in ("hash", "compact_revision")) for m in members}
    expect(len(hashes) == 1, f"HashKV differs: {hashes}")
    for member in members:
        member.stop()
    for member in members:
        tools.check_file(member.database)


def members_start(tools, pair, folder, plain):
    ours, real = [pair.ours], pair.real
    n = 0
    for restorer, programs, bump in ((ours, [tools.real], False), (ours, [tools.real], True), (real, [tools.ours], False),
                                     (real, [tools.ours], True), (ours, [tools.ours], True), (ours, [tools.real] * 3, True),
                                     (real, [tools.ours] * 3, True), (ours, [tools.ours, tools.real, tools.ours], True)):
        n += 1
        start_restored(tools, folder / f"restored{n}", plain, restorer, programs, bump)
        print(f"{len(programs)} member(s) started on what {'ours' if restorer is ours else 'the real one'} restored", flush=True)


def running_member(tools, pair, folder):
    """While a member runs, defrag waits and says so; a signal ends it."""
    member = Member(folder / "running").start(tools.ours)
    said = subprocess.run([pair.ours, "defrag", "--data-dir", member.data], capture_output=True, text=True, timeout=60,
                          check=False, preexec_fn=lambda: signal.alarm(3))
    expect(f'waiting for etcd to close and release its lock on "{member.database}". To defrag a running etcd instance, use '
           "`etcdctl defrag` instead.\n" in said.stderr, f"defrag of a running member: {said}")
    member.stop()


def no_room(pair):
    """A full standard output: one line and exit 1. (The real one says nothing and ends with 0.)"""
    with open("/dev/full", "w", encoding="ascii") as full:
        done = subprocess.run([pair.ours, "version"], stdout=full, stderr=subprocess.PIPE, text=True, check=False)
    expect((done.returncode, done.stderr) == (1, "Error: write /dev/stdout: no space left on device\n"), f"{done}")
    broken = subprocess.run(f"{pair.ours} version | true; echo ${{PIPESTATUS[0]}}", shell=True, executable="/bin/bash",
                            capture_output=True, text=True, check=True)
    expect(broken.stdout in ("0\n", "141\n") and not broken.stderr, f"{broken}")


def interrupted(pair):
    """Ctrl-C in the midst of a restore: nothing stays behind, one line, and the end that the signal would have brought."""
    folder = pair.folders["ours"]
    with open(folder / "large", "wb") as f:
        f.truncate(8 << 30)  # takes longer to copy than to interrupt
    child = subprocess.Popen([pair.ours, "snapshot", "restore", "large", "--data-dir", "out", "--skip-hash-check"], cwd=folder,
                             stderr=subprocess.PIPE, text=True, preexec_fn=die_with_parent)
    deadline = time.monotonic() + 30
    while not (folder / "out/member.restoring/snap/db").exists():
        expect(time.monotonic() < deadline, "the restore does not begin")
        time.sleep(0.01)
    child.send_signal(signal.SIGINT)
    said = child.communicate(timeout=60)[1]
    expect(child.returncode == -signal.SIGINT and said.endswith("Error: interrupted\n"), f"{child.returncode}: {said}")
    expect(not (folder / "out").exists(), "an interrupted restore left something behind")
    (folder / "large").unlink()


def on_a_terminal(pair):
    """Progress is shown on a terminal alone, and taken away again."""
    master, slave = pty.openpty()
    done = subprocess.run([pair.ours, "snapshot", "restore", "plain.snap", "--data-dir", "out"], cwd=pair.folders["ours"],
                          stderr=slave, stdout=subprocess.PIPE, check=True)
    os.close(slave)
    shown = b""
    while True:
        try:
            shown += os.read(master, 1 << 16)
        except OSError:  # nobody writes to it any more
            break
    os.close(master)
    shown = shown.decode()
    expect("copying the snapshot: 0 B of " in shown and not done.stdout, f"on a terminal: {shown}")
    last = shown.rindex("\r\x1b[K")
    expect("restored snapshot" in shown[last:], f"the line of progress stays: {shown}")
    pair.remove("out")


def main(tools, args, folder):
    member, plain, leased = make_snapshots(tools, folder)
    pair = Pair(tools, folder)
    pair.put("plain.snap", plain)
    pair.put("leased.snap", leased)
    pair.put("data", member.data)
    command_lines(pair)
    # Before a hash is taken: that changes the file of the real one.
    restores(tools, pair)
    refused_restores(pair, plain)
    reading(pair)
    damaged_files(pair, plain)
    rewriting(tools, pair)
    no_room(pair)
    interrupted(pair)
    on_a_terminal(pair)
    print(f"{pair.compared} command lines compared", flush=True)
    running_member(tools, pair, folder)
    members_start(tools, pair, folder, plain)


drive(main, __doc__, needs=["oracle-3.6"])
