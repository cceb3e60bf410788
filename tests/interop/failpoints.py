#!/usr/bin/env python3
"""A build with failpoints: gofail's protocol, answer by answer, and a death at each place, from which the member comes
back with everything that it acknowledged. `--release` is the program people run, which must know nothing of all this.

    protocol   the names, every answer of the HTTP port, what the environment sets, what is refused at the start
    release    no name is in the program, and its environment changes nothing
    sleep      a member whose busy places all wait goes on serving
    errors     Defragment fails with the text that was set, and works afterwards
    single     a panic at each place of one member under writers who keep a journal (go/interop/journal.go)
    cluster    the same on one of three, under clients that retry (go/interop/cluster.go); hashes are equal afterwards
    snapshot   a panic at each step of a snapshot that a member receives"""

import contextlib
import os
import pathlib
import socket
import subprocess
import sys
import time
import urllib.error
import urllib.request

sys.path.insert(0, str(pathlib.Path(__file__).resolve().parent.parent / "lib"))
import cluster as clusters  # noqa: E402
from members import Conversation, Member, drive, expect, free_port, run  # noqa: E402

# Reached by every write.
BUSY = ["raftBeforeLeaderSend", "raftBeforeSave", "raftAfterSave", "raftBeforeAdvance", "walBeforeSync", "walAfterSync",
        "beforeApplyOneEntryNormal", "afterIsMemberExist", "beforeStartDBTxn", "afterStartDBTxn",
        "commitBeforePreCommitHook", "commitAfterPreCommitHook", "beforeCommit", "afterCommit", "beforeWritebackBuf",
        "afterWritebackBuf"]
# By a request: its name in go/interop/ctl.go.
ASKED = {"beforeSendWatchResponse": "watch", "beforeCheckpointInLeaseRenew": "keepalive",
         "beforeLookupWhenLeaseTimeToLive": "ttl", "defragBeforeCopy": "defrag", "defragBeforeRename": "defrag",
         "compactBeforeCommitScheduledCompact": "compact", "compactAfterCommitScheduledCompact": "compact",
         "compactBeforeCommitBatch": "compact", "compactAfterCommitBatch": "compact",
         "compactBeforeSetFinishedCompact": "compact", "compactAfterSetFinishedCompact": "compact"}
# By a snapshot of its own, which writes bring about.
OWN_SNAPSHOT = ["raftBeforeWALSaveSnaphot"]
# When a member starts for the first time, and each time.
FIRST_START, START = ["beforeApplyOneConfChange"], ["beforePublishing", "raftBeforeFollowerSend"]
# By a snapshot from another member.
RECEIVED = ["raftBeforeSaveSnap", "raftBeforeWALSaveSnaphot", "raftAfterSaveSnap", "raftBeforeApplySnap",
            "raftAfterApplySnap", "applyBeforeOpenSnapshot", "applyAfterOpenSnapshot", "raftAfterWALRelease"]
FORWARDED = ["beforeLookupWhenForwardLeaseTimeToLive"]
TEXTS = ["defragOpenFileError", "defragdbFail"]
NAMES = sorted({*BUSY, *ASKED, *OWN_SNAPSHOT, *FIRST_START, *START, *RECEIVED, *FORWARDED, *TEXTS})

FLAGS = ["--snapshot-count=200", "--compaction-batch-limit=20"]
OPTIONS = {"snapshot-count": 300, "snapshot-catchup-entries": 100, "compaction-batch-limit": 20}
DEATH = 2  # the exit code of a Go program that panics


class Points:
    """The failpoints of one member, over HTTP."""

    def __init__(self):
        self.port = free_port()

    def ask(self, method, path, body=None):
        """(status, body)."""
        request = urllib.request.Request(f"http://127.0.0.1:{self.port}{path}", method=method,
                                         data=None if body is None else body.encode())
        try:
            with urllib.request.urlopen(request, timeout=10) as r:
                return r.status, r.read().decode()
        except urllib.error.HTTPError as e:
            return e.code, e.read().decode()

    def set(self, name, terms):
        answer = self.ask("PUT", f"/{name}", terms)
        expect(answer == (204, ""), f"{name}={terms}: {answer}")

    def clear(self, name):
        expect(self.ask("DELETE", f"/{name}") == (204, ""), f"{name} can't be cleared")

    @contextlib.contextmanager
    def environment(self, failpoints=""):
        """What a member that is started meanwhile finds in its environment."""
        ours = {"GOFAIL_HTTP": f"127.0.0.1:{self.port}", "GOFAIL_FAILPOINTS": failpoints}
        os.environ.update(ours)
        try:
            yield
        finally:
            for name in ours:
                del os.environ[name]


def wait_death(member, name, seconds=30):
    """The member ends of this failpoint, and says so."""
    try:
        code = member.process.wait(seconds)
    except subprocess.TimeoutExpired:
        expect(False, f"{name} was not reached within {seconds} s")
    expect(code == DEATH, f"at {name} the member ended with {code}")
    # Other threads may have written lines behind it.
    life = member.log.read_text(errors="replace").rpartition("\n--- start ")[2].splitlines()
    expect(f"panic: failpoint panic: {name}" in life, f"the last words at {name} are {life[-3:]}")


def request(ctl, node, do, revision=1):
    """One call that brings a member to a place; it dies of it, so what it answers is not looked at."""
    if do in ("keepalive", "ttl"):
        ctl.call("grant", node, 3, TTL=300, Lease=777)
    fields = {"watch": {"Key": "w", "Action": "create"}, "compact": {"Revision": revision, "Physical": True},
              "keepalive": {"Lease": 777}, "ttl": {"Lease": 777}}.get(do, {})
    ctl.call(do, node, 5, **fields)


# ---- the protocol ----

def protocol(tools, folder):
    points = Points()
    member = Member(folder / "protocol")
    with points.environment(";walAfterSync=sleep(1);unknown=panic;beforeCommit=nonsense;"):
        member.start(tools.ours)
    missing, off = "failpoint: failpoint does not exist\n", "failpoint: failpoint is disabled\n"
    terms = {"walAfterSync": "sleep(1)"}
    listed = "".join(f"{n}={terms.get(n, '')}\n" for n in NAMES)
    expect('failed to enable "beforeCommit=nonsense" (failpoint: could not parse terms)' in member.log.read_text(),
           "bad terms in the environment are told")
    for method, path, body, expected in [
            ("GET", "/", None, (200, listed)),
            ("GET", "/walAfterSync", None, (200, "sleep(1)\n")),
            ("GET", "/x", None, (404, "failed to GET: " + missing + "\n")),
            ("GET", "/walBeforeSync", None, (404, "failed to GET: " + off + "\n")),
            ("GET", "/x/count", None, (404, "failed to GET: " + missing)),
            ("GET", "/walBeforeSync/count", None, (500, "failed to GET: " + off)),
            ("PUT", "/x", "off", (400, "fail to set failpoint: " + missing)),
            ("PUT", "/walBeforeSync", "25%sleep(1)", (400, "fail to set failpoint: failpoint: could not parse terms\n")),
            ("PUT", "/walBeforeSync", '1*25.0%sleep("1ms")->print', (204, "")),
            ("GET", "/walBeforeSync", None, (200, '1*25.0%sleep("1ms")->print\n')),
            ("PUT", "/failpoints", "walBeforeSync=off;;walAfterSync=off", (204, "")),
            ("PUT", "/failpoints", "walBeforeSync", (400, 'fail to parse failpoint: bad failpoint "walBeforeSync"\n')),
            ("GET", "/walAfterSync/count", None, (200, "0")),
            ("DELETE", "/walBeforeSync", None, (204, "")),
            ("DELETE", "/walBeforeSync", None, (400, "failed to delete failpoint " + off)),
            ("DELETE", "/x", None, (400, "failed to delete failpoint " + missing)),
            ("POST", "/walBeforeSync", "off", (405, "Method not allowed\n"))]:
        answer = points.ask(method, path, body)
        expect(answer == expected, f"{method} {path} {body}: {answer}, not {expected}")
    member.stop()

    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        taken.listen()
        address = f"127.0.0.1:{taken.getsockname()[1]}"
        done = run([*tools.ours, "--version"], env={"GOFAIL_HTTP": address}, check=False)
        expect((done.returncode, done.stdout) == (1, f"listen tcp {address}: bind: address already in use\n"),
               f"an address in use: {done}")
    for bad in ("a", "a=b=c"):
        done = run([*tools.ours, "--version"], env={"GOFAIL_FAILPOINTS": "walBeforeSync=off;" + bad}, check=False)
        expect((done.returncode, done.stdout) == (1, f'fail to parse failpoint: bad failpoint "{bad}"\n'), f"{bad}: {done}")


def release(tools, program):
    content = pathlib.Path(program).read_bytes()
    found = [n for n in [*NAMES, "GOFAIL_HTTP", "GOFAIL_FAILPOINTS", "gofail", "failpoint"] if n.encode() in content]
    expect(not found, f"{program} holds {', '.join(found)}")
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        taken.listen()
        run([program, "--version"], env={"GOFAIL_HTTP": "127.0.0.1:%d" % taken.getsockname()[1],
                                         "GOFAIL_FAILPOINTS": "a"})


# ---- one member ----

def sleep(tools, folder):
    points = Points()
    member = Member(folder / "sleep", FLAGS)
    ctl = clusters.Ctl(tools)
    with points.environment():
        member.start(tools.ours)
    for name in BUSY:
        points.set(name, "3*sleep(30)")

        # The database's places are passed once in 100 ms.
        def reached(n=name):
            ctl.must("put", member, 20, Key="sleep", Value=n)
            count = points.ask("GET", f"/{n}/count")
            return count == (200, "3") or count
        clusters.wait_until(reached, f"{name} is reached three times", 20)
        points.clear(name)
    expect(ctl.must("get", member, key="sleep")["kvs"][0]["value"] == BUSY[-1], "the last write is there")
    ctl.close()
    member.stop()


def errors(tools, folder):
    points = Points()
    member = Member(folder / "errors")
    ctl = clusters.Ctl(tools)
    with points.environment():
        member.start(tools.ours)
    ctl.must("puts", member, 20, Key="a", Count=500, Size=1000)
    for name in TEXTS:
        points.set(name, f'return("no {name}")')
        answer = ctl.call("defrag", member, 20)
        expect((answer["code"], answer["message"]) == ("Unknown", f"no {name}"), f"{name}: {answer}")
        points.clear(name)
        left = [p.name for p in member.database.parent.iterdir() if p.name.startswith("db.tmp")]
        expect(not left, f"{name} leaves {left}")
        ctl.must("put", member, key="b", value=name)
        ctl.must("defrag", member, 20)
    ctl.close()
    member.stop()
    tools.check_file(member.database)


def single(tools, folder, only):
    points = Points()
    member = Member(folder / "single", FLAGS)
    ctl = clusters.Ctl(tools)
    for name in FIRST_START:
        with points.environment(f"{name}=panic"):
            member.start(tools.ours, wait=False)
        wait_death(member, name)
    with points.environment():
        member.start(tools.ours)
    journal = Conversation([tools.interop, "journal", "--endpoint", member.endpoint, "--seed", 1])
    checked = 1
    for name in [*BUSY, *OWN_SNAPSHOT, *START, *ASKED]:
        if only and name not in only:
            continue
        journal.ask("run")
        journal.ask("fill 100")
        if name in START:
            member.kill()
            with points.environment(f"{name}=panic"):
                member.start(tools.ours, wait=False)
        else:
            points.set(name, "panic")
            if name in ASKED:
                request(ctl, member, ASKED[name], checked)
        wait_death(member, name)
        tools.check_file(member.database)
        with points.environment():
            member.start(tools.ours)
        journal.ask("pause")
        revision, keys, acknowledged = journal.ask("check")
        checked = int(revision)
        print(f"single {name}: revision {revision}, {keys} keys, {acknowledged} writes acknowledged", flush=True)
    journal.close()
    ctl.close()
    member.stop()
    tools.check_file(member.database)


# ---- three members ----

def found(tools, folder):
    """Three members, and the failpoints of each by its name."""
    cluster = clusters.Cluster(tools, folder, ["quoin"] * 3, options=OPTIONS)
    points = {n.name: Points() for n in cluster.nodes}
    for n in cluster.nodes:
        n.initial = cluster.initial_cluster()
    for n in cluster.nodes:
        with points[n.name].environment():
            n.start()
    return cluster.wait_ready(), points


def start(node, points, failpoints="", **kw):
    with points[node.name].environment(failpoints):
        node.start(**kw)


def cluster(tools, folder, only):
    three, points = found(tools, folder)
    load = clusters.Load(three, 1, attempt="700ms", leases=2).run()
    checked = 1
    for name in [*BUSY, *OWN_SNAPSHOT, *START, *ASKED, *FORWARDED, *FIRST_START]:
        if only and name not in only:
            continue
        load.run()
        load.fill(100)
        leader = three.wait_leader()
        node = three.followers()[0] if name in START else leader
        if name == "beforePublishing":
            node.kill()
            start(node, points, f"{name}=panic")
        else:
            points[node.name].set(name, "panic")
            if name in ASKED:
                request(three.ctl, node, ASKED[name], checked)
            elif name in FIRST_START:
                # Refused until the one that was restarted last has been connected for a while.
                clusters.wait_until(lambda: node.process.poll() is not None or three.ctl.call(
                    "add", node, 5, URLs=["http://127.0.0.1:1"], Learner=True), f"{name} is reached", every=0.2)
            elif name in FORWARDED:
                request(three.ctl, next(n for n in three.live if n is not leader), "ttl")
        wait_death(node, name)
        start(node, points, wait=True)
        for learner in [m["id"] for m in three.members() if m["learner"]]:
            three.call("remove", ID=learner)
        load.pause()
        _, checked, _ = three.check_hashes()
        print(f"cluster {name}: {node}, revision {checked}", flush=True)
    print("cluster:", load.check(), flush=True)
    load.close()
    three.stop()
    three.close()


def snapshot(tools, folder, only):
    for name in RECEIVED:
        if only and name not in only:
            continue
        # A new cluster each time: a leader that has sent a snapshot keeps its log for a while.
        three, points = found(tools, folder / name)
        load = clusters.Load(three, 2, attempt="700ms", leases=0).run()
        node = three.followers()[0]
        node.kill()
        load.fill(1000)
        start(node, points, f"{name}=panic")
        wait_death(node, name, 60)
        start(node, points, wait=True)
        load.pause()
        three.check_hashes()
        print(f"snapshot {name}: {load.check()}", flush=True)
        load.close()
        three.stop()
        three.close()


PARTS = {"protocol": protocol, "release": release, "sleep": sleep, "errors": errors, "single": single,
         "cluster": cluster, "snapshot": snapshot}


def main(tools, args, folder):
    for name, part in PARTS.items():
        if args.part and name not in args.part:
            continue
        began = time.monotonic()
        if name == "release":
            if args.release:
                release(tools, args.release)
        elif name in ("single", "cluster", "snapshot"):
            part(tools, folder / name, args.only)
        else:
            part(tools, folder)
        print(f"{name}: {time.monotonic() - began:.0f} s", flush=True)


def arguments(parser):
    parser.add_argument("--release", help="the program without failpoints")
    parser.add_argument("--part", action="append", choices=PARTS, help="only this part")
    parser.add_argument("--only", action="append", help="only these failpoints, in the parts that kill")


if __name__ == "__main__":
    drive(main, __doc__, arguments, needs=("interop", "oracle-3.6"))
