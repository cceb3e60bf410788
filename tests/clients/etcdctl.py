#!/usr/bin/env python3
"""Every operation by Debian's etcdctl (3.4), as an operator types it."""

import json
import os
import pathlib
import shutil
import subprocess
import sys
import threading
import time

sys.path.insert(0, str(pathlib.Path(__file__).resolve().parent.parent / "lib"))
from members import Failure, Member, Skip, drive, expect, run, die_with_parent  # noqa: E402


class Ctl:
    def __init__(self, member):
        self.base = [shutil.which("etcdctl"), "--endpoints", member.endpoint, "--command-timeout", "20s"]
        self.env = {"ETCDCTL_API": "3"}

    def __call__(self, *args, stdin=None, check=True):
        return run([*self.base, *args], env=self.env, stdin=stdin, check=check)

    def says(self, expected, *args, stdin=None):
        out = self(*args, stdin=stdin).stdout
        expect(out == expected, f"etcdctl {' '.join(args)} printed {out!r}, not {expected!r}")

    def refused(self, text, *args, stdin=None):
        done = self(*args, stdin=stdin, check=False)
        expect(done.returncode != 0 and text in done.stderr,
               f"etcdctl {' '.join(args)}: exit {done.returncode}, {done.stderr!r}; expected {text!r}")

    def json(self, *args):
        return json.loads(self(*args, "-w", "json").stdout)

    def start(self, *args):
        return subprocess.Popen([*self.base, *args], stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True,
                                stdin=subprocess.DEVNULL, env={**os.environ, **self.env}, preexec_fn=die_with_parent)


def lines(child, n, seconds=20):
    """The next n lines of a running command."""
    out = []
    reader = threading.Thread(target=lambda: out.extend(child.stdout.readline() for _ in range(n)), daemon=True)
    reader.start()
    reader.join(seconds)
    if reader.is_alive():
        child.kill()
        raise Failure(f"{' '.join(child.args[1:])}: {len(out)} lines, waiting for {n}: {out}")
    return [line.rstrip("\n") for line in out]


def keys_and_values(ctl):
    ctl.says("OK\n", "put", "ctl/a", "1")
    ctl.says("OK\nctl/a\n1\n", "put", "ctl/a", "2", "--prev-kv")
    ctl.says("OK\n", "put", "ctl/b", stdin="from standard input")
    ctl.says("ctl/a\n2\n", "get", "ctl/a")
    ctl.says("ctl/a\n2\nctl/b\nfrom standard input\n", "get", "ctl/", "--prefix")
    ctl.says("ctl/b\n\nctl/a\n\n", "get", "ctl/", "--prefix", "--keys-only", "--order", "descend")
    ctl.says("2\n", "get", "ctl/a", "--print-value-only")
    first = ctl.json("get", "ctl/", "--prefix", "--limit", "1")
    expect(first["count"] == 2 and first["more"] and len(first["kvs"]) == 1, f"get with a limit: {first}")
    revision = first["kvs"][0]["create_revision"]
    ctl.says("ctl/a\n1\n", "get", "ctl/a", "--rev", str(revision))
    ctl.says("", "get", "ctl/none")
    ctl.says("1\nctl/b\nfrom standard input\n", "del", "ctl/b", "--prev-kv")
    ctl.says("0\n", "del", "ctl/b")
    ctl.says("OK\n", "put", "ctl/a", "--ignore-lease", "3")
    ctl.refused("etcdserver: key not found", "put", "ctl/none", "--ignore-value")
    ctl.refused("etcdserver: requested lease not found", "put", "ctl/a", "x", "--lease", "1234")
    ctl.says("1\n", "del", "--from-key", "ctl/a")


def txns(ctl):
    script = 'mod("ctl/txn") = "0"\n\nput ctl/txn 1\nget ctl/txn\n\nget ctl/txn\n\n'
    ctl.says("SUCCESS\n\nOK\n\nctl/txn\n1\n", "txn", stdin=script)
    ctl.says("FAILURE\n\nctl/txn\n1\n", "txn", stdin=script)
    ctl.says("SUCCESS\n\n1\n", "txn", stdin='value("ctl/txn") = "1"\nver("ctl/txn") < "2"\n\ndel ctl/txn\n\n\n')
    ctl.refused("duplicate key given in txn request", "txn", stdin="\nput a 1\nput a 2\n\n\n")


def leases(ctl):
    granted = ctl("lease", "grant", "100").stdout
    lease = granted.split()[1]
    expect(granted == f"lease {lease} granted with TTL(100s)\n", granted)
    ctl.says("OK\n", "put", "ctl/leased", "x", "--lease", lease)
    left = ctl("lease", "timetolive", lease, "--keys").stdout
    expect(left.startswith(f"lease {lease} granted with TTL(100s), remaining(") and "attached keys([ctl/leased])" in left, left)
    ctl.says(f"lease {lease} keepalived with TTL(100)\n", "lease", "keep-alive", "--once", lease)
    expect(lease in ctl("lease", "list").stdout, "the lease is not listed")
    ctl.says(f"lease {lease} revoked\n", "lease", "revoke", lease)
    ctl.says("", "get", "ctl/leased")
    ctl.says(f"lease {lease} already expired\n", "lease", "timetolive", lease)
    ctl.refused("etcdserver: requested lease not found", "lease", "revoke", lease)
    short = ctl("lease", "grant", "1").stdout.split()[1]
    ctl.says("OK\n", "put", "ctl/short", "x", "--lease", short)
    deadline = time.monotonic() + 15
    while ctl("get", "ctl/short").stdout:
        expect(time.monotonic() < deadline, "a key of an expired lease is still there after 15 s")
        time.sleep(0.2)


def watches(ctl):
    revision = ctl.json("put", "ctl/watch/a", "1")["header"]["revision"]
    ctl("put", "ctl/watch/a", "2")
    child = ctl.start("watch", "ctl/watch/", "--prefix", "--rev", str(revision), "--prev-kv")
    try:
        first = lines(child, 8)
        expect(first == ["PUT", "ctl/watch/a", "1", "PUT", "ctl/watch/a", "1", "ctl/watch/a", "2"],
               f"watch from a revision: {first}")
        ctl("del", "ctl/watch/a")
        second = lines(child, 5)
        expect(second == ["DELETE", "ctl/watch/a", "2", "ctl/watch/a", ""], f"watch: {second}")
    finally:
        child.kill()
        child.wait()


def compaction(ctl):
    revision = ctl.json("put", "ctl/c", "1")["header"]["revision"]
    last = ctl.json("put", "ctl/c", "2")["header"]["revision"]
    ctl.says(f"compacted revision {last}\n", "compact", str(last), "--physical")
    ctl.refused("mvcc: required revision has been compacted", "get", "ctl/c", "--rev", str(revision))
    ctl.refused("mvcc: required revision has been compacted", "compact", str(last))
    ctl.refused("mvcc: required revision is a future revision", "get", "ctl/c", "--rev", str(last + 100))
    watch = ctl("watch", "ctl/c", "--rev", str(revision), check=False)
    expect("watch was canceled (etcdserver: mvcc: required revision has been compacted)" in watch.stderr,
           f"watch from a compacted revision: {watch.stderr!r}")


def maintenance(ctl, tools, member, folder):
    status = ctl.json("endpoint", "status")[0]["Status"]
    expect(status["leader"] == status["header"]["member_id"] and status["version"] and status["dbSize"] > 0,
           f"endpoint status: {status}")
    expect("is healthy: successfully committed proposal" in ctl("endpoint", "health").stdout
           + ctl("endpoint", "health").stderr, "endpoint health")
    ctl("put", "ctl/hash", "x")  # the hash at a compaction's own revision is another one
    one = ctl.json("endpoint", "hashkv")[0]["HashKV"]
    again = ctl.json("endpoint", "hashkv", "--rev", str(one["header"]["revision"]))[0]["HashKV"]
    expect(one["hash"] == again["hash"], f"endpoint hashkv: {one} {again}")
    ctl.says(f"Finished defragmenting etcd member[{member.endpoint}]\n", "defrag")
    expect(ctl.json("endpoint", "hashkv")[0]["HashKV"]["hash"] == one["hash"], "defrag changed the contents")
    ctl.says("", "alarm", "list")
    ctl.says("", "alarm", "disarm")
    path = folder / "ctl.db"
    expect("saved" in ctl("snapshot", "save", path).stdout.lower(), "snapshot save")
    saved = ctl.json("snapshot", "status", path)
    expect(saved["totalKey"] > 0 and saved["revision"] == one["header"]["revision"], f"snapshot status: {saved}")
    members = ctl.json("member", "list")
    expect(len(members["members"]) == 1 and members["members"][0]["name"] == "default", f"member list: {members}")


def main(tools, args, folder):
    path = shutil.which("etcdctl")
    if not path:
        raise Skip("etcdctl is not installed (Debian package etcd-client)")
    version = run([path, "version"], env={"ETCDCTL_API": "3"}).stdout.split()
    if not version[2].startswith("3.4."):
        raise Skip(f"etcdctl is {version[2]}, and its texts are other than those of 3.4")
    member = Member(folder / "member").start(tools.ours)
    ctl = Ctl(member)
    for step in (keys_and_values, txns, leases, watches, compaction):
        step(ctl)
        print("ok", step.__name__, flush=True)
    maintenance(ctl, tools, member, folder)
    print("ok maintenance", flush=True)
    member.stop()


drive(main, __doc__)
