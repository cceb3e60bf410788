#!/usr/bin/env python3
"""What one command line of etcdctl alone cannot show, for the real tool of 3.6 and ours, against a Quoin and a real
member: locks and elections between the two tools, signals, lost leases, mirrors, alarms, and snapshots whose stream
breaks, whose disk is full, or whose program is killed."""

import json
import os
import pathlib
import signal
import socket
import subprocess
import sys
import threading
import time
import urllib.request

sys.path.insert(0, str(pathlib.Path(__file__).resolve().parent.parent / "lib"))
from members import Member, Skip, die_with_parent, drive, expect, run  # noqa: E402

SECONDS = 20


class Tool:
    def __init__(self, name, command, member):
        self.name, self.command, self.member = name, [str(c) for c in command], member

    def run(self, *words, endpoint=None, **kw):
        return run([*self.command, "--endpoints", endpoint or self.member.endpoint, *words], check=False, timeout=SECONDS, **kw)

    def get(self, *words, **kw):
        return self.run(*words, **kw).stdout

    def start(self, *words, endpoint=None, cwd=None):
        return Running(subprocess.Popen([*self.command, "--endpoints", endpoint or self.member.endpoint, *words],
                                        stdout=subprocess.PIPE, stderr=subprocess.PIPE, stdin=subprocess.DEVNULL,
                                        text=True, cwd=cwd, preexec_fn=die_with_parent))


class Running:
    """A command that goes on, and the lines that it has printed."""

    def __init__(self, process):
        self.process = process
        self.lines = []
        self.reader = threading.Thread(target=self._read, daemon=True)
        self.reader.start()

    def _read(self):
        for line in self.process.stdout:
            self.lines.append(line.rstrip("\n"))

    def wait_lines(self, count):
        wait(lambda: len(self.lines) >= count, f"{count} lines", lambda: f"{self.lines}")
        return self.lines[:count]

    def end(self, number=None):
        """Sends the signal, if any; returns exit code and standard error."""
        if number is not None:
            self.process.send_signal(number)
        code = self.process.wait(SECONDS)
        self.reader.join(SECONDS)
        return code, self.process.stderr.read()


def wait(condition, what, seen=lambda: ""):
    deadline = time.monotonic() + SECONDS
    while not condition():
        expect(time.monotonic() < deadline, f"no {what} after {SECONDS} s; {seen()}")
        time.sleep(0.02)


def keys_under(tool, prefix):
    return [k for k in tool.get("get", prefix, "--prefix", "--keys-only").split("\n") if k]


# ---- locks and elections ------------------------------------------------------------------------------------

def lock_passes_on(first, second):
    """One holds, the other waits in line; a signal to the first hands over."""
    holder = first.start("lock", "passed")
    key = holder.wait_lines(2)[0]
    waiter = second.start("lock", "passed")
    wait(lambda: len(keys_under(first, "passed/")) == 2, "second key")
    quitter = second.start("lock", "passed")
    wait(lambda: len(keys_under(first, "passed/")) == 3, "third key")
    expect(not waiter.lines, f"both hold the lock: {waiter.lines}")
    code, err = quitter.end(signal.SIGTERM)
    expect((code, err) == (1, "Error: context canceled\n"), f"a waiting lock ended with {code}: {err}")
    wait(lambda: len(keys_under(first, "passed/")) == 2, "removal of the waiter's key")
    code, err = holder.end(signal.SIGINT)
    expect((code, err) == (0, ""), f"the holder ended with {code}: {err}")
    expect(waiter.wait_lines(2)[0] != key, "the same key twice")
    expect(waiter.end(signal.SIGTERM)[0] == 0, "the second holder's exit code")
    expect(not keys_under(first, "passed/"), "keys are left")


def lock_is_lost(tool, _):
    holder = tool.start("lock", "lost", "--ttl", "3")
    key = holder.wait_lines(2)[0]
    expect(tool.run("lease", "revoke", key.split("/")[1]).returncode == 0, "lease revoke")
    code, err = holder.end()
    expect(code == 1 and err.endswith("Error: session expired\n"), f"after its lease was revoked: {code}: {err}")


def lock_runs_a_command(first, second):
    """The command goes on when only etcdctl is told to end; its key goes away with it."""
    running = first.start("lock", "run", "--", "sh", "-c", "echo begins; sleep 1; echo ends; exit 5")
    running.wait_lines(1)
    waiter = second.start("lock", "run", "echo", "next")
    code, err = running.end(signal.SIGTERM)
    expect(running.lines == ["begins", "ends"] and (code, err) == (5, "Error: exit status 5\n"), f"{running.lines} {code} {err}")
    expect(waiter.end()[0] == 0 and waiter.lines == ["next"], f"{waiter.lines}")


def election_passes_on(first, second):
    observer = second.start("elect", "-l", "chosen")
    leader = first.start("elect", "chosen", "one")
    key = leader.wait_lines(2)[0]
    expect(observer.wait_lines(2) == [key, "one"], f"the observer saw {observer.lines}")
    rival = second.start("elect", "chosen", "two")
    wait(lambda: len(keys_under(first, "chosen/")) == 2, "rival")
    quitter = first.start("elect", "chosen", "three")
    wait(lambda: len(keys_under(first, "chosen/")) == 3, "third proposal")
    code, err = quitter.end(signal.SIGINT)
    expect((code, err) == (1, "Error: context canceled\n"), f"a waiting campaign ended with {code}: {err}")
    first.run("put", key, "changed", "--ignore-lease")
    expect(observer.wait_lines(4)[2:] == [key, "changed"], f"the observer saw {observer.lines}")
    expect(leader.end(signal.SIGTERM) == (0, ""), "the leader's end")
    new_key = rival.wait_lines(2)[0]
    expect(observer.wait_lines(6)[4:] == [new_key, "two"], f"the observer saw {observer.lines}")
    expect(observer.end(signal.SIGTERM) == (0, ""), "the observer's end")
    second.run("lease", "revoke", new_key.split("/")[1])
    code, err = rival.end()
    expect(code == 1 and err.endswith("Error: elect: session expired\n"), f"after its lease was revoked: {code}: {err}")


# ---- mirrors ------------------------------------------------------------------------------------------------

def mirror(tool, other):
    """To the same cluster under another prefix; base, changes, transactions, and a revision that is gone."""
    for i in range(3):
        tool.run("put", f"src/{i}", str(i))
    running = tool.start("make-mirror", other.member.endpoint, "--prefix", "src/", "--dest-prefix", f"to-{tool.name}/", "--max-txn-ops", "2")
    base = f"to-{tool.name}/"
    wait(lambda: len(keys_under(tool, base)) == 3, "base")
    time.sleep(0.5)  # the watch begins behind the base
    tool.run("txn", stdin="\n" + "".join(f"put src/t{i} x\n" for i in range(5)) + "\n\n")
    tool.run("del", "src/0")
    wait(lambda: keys_under(tool, base) == [f"{base}{k}" for k in ("1", "2", "t0", "t1", "t2", "t3", "t4")], "copy",
         lambda: f"{keys_under(tool, base)}")
    running.process.terminate()
    expect(running.end()[0] == -signal.SIGTERM, "SIGTERM ends a mirror")
    revision = json.loads(tool.get("get", "src/1", "-w", "json"))["header"]["revision"]
    tool.run("compaction", str(revision))
    r = tool.run("make-mirror", other.member.endpoint, "--prefix", "src/", "--rev", "2")
    expect((r.returncode, r.stderr) == (1, "Error: etcdserver: mvcc: required revision has been compacted\n"), f"{r.returncode}: {r.stderr}")
    tool.run("del", "src/", "--prefix")
    tool.run("del", base, "--prefix")


# ---- maintenance --------------------------------------------------------------------------------------------

def alarms(first, second):
    """The same words for the same alarm, and it can be turned off."""
    member_id = json.loads(first.get("endpoint", "status", "-w", "json"))[0]["Status"]["header"]["member_id"]

    def arm():
        body = json.dumps({"action": "ACTIVATE", "memberID": str(member_id), "alarm": "NOSPACE"}).encode()
        urllib.request.urlopen(urllib.request.Request(f"{first.member.url}/v3/maintenance/alarm", body), timeout=5).read()

    arm()
    for words in (["list"], ["list", "-w", "json"], ["list", "-w", "fields"], ["list", "-w", "fields", "--hex"], ["list", "-w", "protobuf"]):
        a, b = (t.run("alarm", *words, text=False) for t in (first, second))
        expect((a.stdout, a.returncode) == (b.stdout, b.returncode), f"alarm {words}: {a.stdout!r} {b.stdout!r}")
    for words in (["disarm"], ["disarm", "-w", "json"]):
        said = []
        for tool in (first, second):
            arm()
            said.append(tool.run("alarm", *words).stdout)
        expect(said[0] == said[1] and "NOSPACE" in said[0] + "NOSPACE", f"alarm {words}: {said}")
    expect(first.get("alarm", "list") == "", "an alarm is left")


class CutProxy:
    """Lets so many bytes of a server's answers through, then closes the connection or stands still."""

    def __init__(self, port, bytes_max, stall):
        self.port_of_server, self.left, self.stall = port, bytes_max, stall
        self.listener = socket.create_server(("127.0.0.1", 0))
        self.endpoint = "127.0.0.1:%d" % self.listener.getsockname()[1]
        threading.Thread(target=self._accept, daemon=True).start()

    def _accept(self):
        while True:
            try:
                client, _ = self.listener.accept()
            except OSError:
                return
            server = socket.create_connection(("127.0.0.1", self.port_of_server))
            threading.Thread(target=self._copy, args=(client, server, False), daemon=True).start()
            threading.Thread(target=self._copy, args=(server, client, True), daemon=True).start()

    def _copy(self, source, target, counted):
        try:
            while data := source.recv(65536):
                if counted:
                    self.left -= len(data)
                    if self.left < 0 and self.stall:
                        return
                    if self.left < 0:
                        break
                target.sendall(data)
        except OSError:
            pass
        for s in (source, target):
            s.close()


def fill(tool):
    if tool.get("get", "big/0", "--keys-only"):
        return
    for i in range(6):
        tool.run("put", f"big/{i}", stdin=os.urandom(500_000).hex())


def broken_snapshots(tool, folder):
    fill(tool)
    folder = folder / f"snapshots-{tool.name}"
    folder.mkdir()
    file = folder / "s.db"

    def nothing_left(what, part=False):
        expect(not file.exists(), f"{what}: there is a snapshot")
        expect(part or not any(folder.iterdir()), f"{what}: files are left: {list(folder.iterdir())}")

    cut = CutProxy(tool.member.client_port, 2_000_000, False)
    r = tool.run("snapshot", "save", str(file), endpoint=cut.endpoint)
    expect(r.returncode == 5 and "Error: could not write snapshot: rpc error: code = Unavailable" in r.stderr, f"{r.returncode}: {r.stderr}")
    nothing_left("a broken stream")
    stalled = CutProxy(tool.member.client_port, 2_000_000, True)
    r = tool.run("snapshot", "save", str(file), "--command-timeout", "1s", endpoint=stalled.endpoint)
    expect(r.returncode == 5 and r.stderr.endswith("Error: could not write snapshot: context deadline exceeded\n"), f"{r.returncode}: {r.stderr}")
    nothing_left("a timeout")
    stalled = CutProxy(tool.member.client_port, 2_000_000, True)
    killed = tool.start("snapshot", "save", str(file), endpoint=stalled.endpoint)
    part = folder / "s.db.part"
    wait(lambda: part.exists() and part.stat().st_size > 500_000, "half a snapshot")
    expect(part.stat().st_mode & 0o777 == 0o600, f"mode {part.stat().st_mode:o}")
    killed.end(signal.SIGKILL)
    nothing_left("a killed program", part=True)
    r = tool.run("snapshot", "save", str(file))
    expect(r.returncode == 0 and file.stat().st_mode & 0o777 == 0o600 and not part.exists(), f"{r.returncode}: {r.stderr}")


def full_disk(tool, folder):
    fill(tool)
    small = folder / f"small-{tool.name}"
    small.mkdir()
    if subprocess.run(["mount", "-t", "tmpfs", "-o", "size=1m", "none", small], capture_output=True, check=False).returncode != 0:
        print("    (no full disk: this user may not mount one)")
        return
    try:
        r = tool.run("snapshot", "save", f"{small}/s.db")
        expect(r.returncode == 5 and r.stderr.endswith(
            f"Error: could not write snapshot: write {small}/s.db.part: no space left on device\n"), f"{r.returncode}: {r.stderr}")
        expect(not any(small.iterdir()), "files are left on the full disk")
    finally:
        run(["umount", small])


def offline(real, ours, oracle, folder):
    """status and restore in our etcdctl, beside the real etcdutl."""
    file = folder / "offline.db"
    expect(real.run("snapshot", "save", str(file)).returncode == 0, "snapshot save")
    for words in ([], ["-w", "table"], ["-w", "json"], ["-w", "fields"], ["-w", "protobuf"]):
        a = run([oracle, "etcdutl", "snapshot", "status", file, *words], check=False)
        b = run([*ours.command, "snapshot", "status", file, *words], check=False)
        expect((a.stdout, a.returncode) == (b.stdout, b.returncode), f"status {words}: {a.stdout} {b.stdout} {b.stderr}")
    data = folder / "restored"
    r = run([*ours.command, "snapshot", "restore", file, "--data-dir", data], check=False)
    expect(r.returncode == 0 and (data / "member" / "snap" / "db").exists(), f"restore: {r.returncode} {r.stderr}")
    r = run([*ours.command, "snapshot", "restore", file, "--data-dir", data], check=False)
    expect(r.returncode == 1 and "Error: " in r.stderr, f"a second restore: {r.returncode} {r.stderr}")


PARTS = {f.__name__: f for f in (lock_passes_on, lock_is_lost, lock_runs_a_command, election_passes_on, mirror, alarms)}


def main(tools, args, folder):
    program = tools.ours[0].parent / "etcdctl"
    if not program.exists():
        raise Skip(f"{program} is not built")
    for kind, server in (("quoin", tools.ours), ("etcd", [tools.oracle, "etcd"])):
        member = Member(folder / kind).start(server)
        real = Tool("real", [tools.oracle, "etcdctl"], member)
        ours = Tool("ours", [program], member)
        for name, part in PARTS.items():
            if args.only and args.only not in name:
                continue
            for first, second in ((real, ours), (ours, real), (ours, ours)):
                part(first, second)
            print(f"  {kind}: {name}", flush=True)
        for tool in (real, ours):
            if not args.only or args.only in "snapshots":
                broken_snapshots(tool, folder / kind)
                full_disk(tool, folder / kind)
        if not args.only or args.only in "snapshots":
            offline(real, ours, tools.oracle, folder / kind)
            print(f"  {kind}: snapshots", flush=True)
        member.end()


if __name__ == "__main__":
    drive(main, __doc__, lambda p: p.add_argument("--only", help="parts whose name has this text"), needs=("oracle-3.6",))
