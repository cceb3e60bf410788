#!/usr/bin/env python3
"""What README says about clusters, typed as it stands there: three members in three commands, what to type in another
terminal, a member swapped for a real etcd with the same flags and back; a member with certificates and users; and `make cluster`: what it says to type,
Ctrl-C, and nothing left behind but its folder. In a network namespace of its own, where the usual ports are free."""

import json
import os
import pathlib
import re
import shutil
import signal
import subprocess
import sys
import time

sys.path.insert(0, str(pathlib.Path(__file__).resolve().parent.parent / "lib"))
import nameserver  # noqa: E402
from members import Failure, Skip, die_with_parent, drive, expect, run  # noqa: E402

ROOT = pathlib.Path(__file__).resolve().parent.parent.parent
SECONDS = 30


def section(title):
    text = (ROOT / "README.md").read_text()
    found = re.search(rf"^## {re.escape(title)}\n(.*?)(?=^## )", text, re.M | re.S)
    expect(found, f"README has no section '{title}'")
    return [block.strip() for block in re.findall(r"^```\n(.*?)^```$", found[1], re.M | re.S)]


class Place:
    """A folder as README means it: bin/etcd, and etcd and etcdctl on the PATH."""

    def __init__(self, tools, folder):
        self.folder = folder
        (folder / "bin").mkdir(parents=True)
        (folder / "path").mkdir()
        (folder / "bin" / "etcd").symlink_to(tools.ours[0])
        for name in ("etcd", "etcdctl"):
            script = folder / "path" / name
            script.write_text(f"#!/bin/sh\nexec {tools.oracle} {name} \"$@\"\n")
            script.chmod(0o755)
        self.env = {**os.environ, "PATH": f"{folder / 'path'}:{os.environ['PATH']}"}
        self.running = []

    def start(self, command, log):
        """In a terminal of its own."""
        with open(self.folder / log, "ab") as out:
            self.running.append(subprocess.Popen(["bash", "-c", f"exec {command}"], cwd=self.folder, env=self.env,
                                                 stdout=out, stderr=out, stdin=subprocess.DEVNULL,
                                                 preexec_fn=die_with_parent))
        return self.running[-1]

    def type(self, text):
        """In another terminal; what it printed."""
        done = subprocess.run(["bash", "-e", "-c", text], cwd=self.folder, env=self.env, capture_output=True, text=True,
                              timeout=SECONDS, check=False)
        if done.returncode != 0:
            raise Failure(f"exit {done.returncode}: {text}\n{done.stdout}{done.stderr}")
        return done.stdout

    def wait(self, endpoints, members):
        """Until all answer, lead or follow, and are at one index."""
        deadline = time.monotonic() + SECONDS
        shown = ""
        while time.monotonic() < deadline:
            try:
                shown = self.type(f"etcdctl --endpoints {endpoints} endpoint status -w json")
                status = [s["Status"] for s in json.loads(shown)]
                if len(status) == members and all(s.get("leader") for s in status) and \
                        len({s["raftIndex"] for s in status}) == 1:
                    return
            except (Failure, ValueError) as e:
                shown = str(e)
            time.sleep(0.1)
        raise Failure(f"no cluster of {members} after {SECONDS} s: {shown}")

    def end(self):
        for p in self.running:
            if p.poll() is None:
                p.kill()
            p.wait()


def three_commands(tools, folder):
    place = Place(tools, folder)
    blocks = section("A cluster of three")
    expect(len(blocks) == 4, f"four blocks of commands, not {len(blocks)}")
    members, other = blocks[:3], blocks[3]
    endpoints = re.search(r"ENDPOINTS=(\S+)", other)[1]
    try:
        started = [place.start(command, f"m{i + 1}.log") for i, command in enumerate(members)]
        place.wait(endpoints, 3)
        said = place.type(other)
        expect(said.endswith("OK\ngreeting\nhello\n") and said.count("127.0.0.1:") == 3, said)
        # A member for a real etcd with its flags, and back.
        for program in ("etcd", "bin/etcd"):
            started[0].send_signal(signal.SIGTERM)
            started[0].wait(SECONDS)
            started[0] = place.start(members[0].replace("bin/etcd", program, 1), "m1.log")
            place.wait(endpoints, 3)
            said = place.type(f"etcdctl --endpoints 127.0.0.1:2379 get greeting && etcdctl --endpoints {endpoints} put swapped {program}")
            expect(said == "greeting\nhello\nOK\n", f"{program}: {said}")
        for p in started:
            p.send_signal(signal.SIGTERM)
        for p in started:
            expect(p.wait(SECONDS) in (0, -signal.SIGTERM), f"a member ended with {p.returncode}")
    finally:
        place.end()
    print("README: three members in three commands, and one swapped", flush=True)


def locked_doors(tools, folder):
    place = Place(tools, folder)
    blocks = section("Locked doors")
    expect(len(blocks) == 3, f"three blocks of commands, not {len(blocks)}")
    certificates, member, other = blocks
    keys = next(line for line in other.splitlines() if line.startswith("export"))
    try:
        place.type(certificates)
        started = place.start(member, "m1.log")
        deadline = time.monotonic() + SECONDS
        while "ready to serve" not in (folder / "m1.log").read_text():
            expect(time.monotonic() < deadline and started.poll() is None, "the member does not serve")
            time.sleep(0.1)
        said = place.type(other)
        expect(said.endswith("Authentication Enabled\nOK\n"), said)
        # Which of its two errors etcdctl shows without a certificate is a matter of time.
        refused = {"etcdctl --endpoints https://127.0.0.1:2379 --cacert ca.crt get x --command-timeout 2s":
                   "certificate required|deadline exceeded",
                   f"{keys}\netcdctl --user alice:also-secret put other/x 1": "permission denied",
                   f"{keys}\netcdctl --user alice:secret get app/greeting": "authentication failed",
                   f"{keys}\netcdctl get app/greeting": "permission denied"}
        for command, why in refused.items():
            try:
                said = place.type(command)
            except Failure as e:
                expect(any(w in str(e) for w in why.split("|")), f"{command}: {e}, not {why}")
            else:
                raise Failure(f"{command} was let in: {said}")
        started.send_signal(signal.SIGTERM)
        expect(started.wait(SECONDS) in (0, -signal.SIGTERM), f"the member ended with {started.returncode}")
    finally:
        place.end()
    print("README: certificates and users", flush=True)


def make_cluster(tools, folder):
    place = Place(tools, folder)
    shutil.copy(ROOT / "Makefile", folder)
    (folder / "tools").mkdir()
    shutil.copy(ROOT / "tools" / "run_cluster.sh", folder / "tools")
    before = {p.name for p in folder.iterdir()}
    # bin/etcd is there: only what comes after the build.
    make = subprocess.Popen(["make", "-s", "-o", "build", "cluster"], cwd=folder, env=place.env, text=True,
                            stdout=subprocess.PIPE, stderr=subprocess.STDOUT, stdin=subprocess.DEVNULL,
                            start_new_session=True, preexec_fn=die_with_parent)
    pids = []
    try:
        said = []
        for line in make.stdout:
            said.append(line)
            if "get greeting" in line:
                break
        text = "".join(said)
        pids = [int(p) for p in re.findall(r"\((?:process )?(\d+)\)", text)]
        expect(len(pids) == 3 and "In another terminal:\n" in text, f"make cluster said: {text}")
        place.wait(re.search(r"ENDPOINTS=(\S+)", text)[1], 3)
        shown = place.type(text.partition("In another terminal:\n")[2])
        expect(shown.endswith("greeting\nhello\n") and "OK\n" in shown, shown)
        expect(make.poll() is None, "the end of one member ended make cluster")
        os.killpg(make.pid, signal.SIGINT)
        make.wait(SECONDS)
        left = [p for p in pids if pathlib.Path(f"/proc/{p}/exe").exists()]
        expect(not left, f"processes {left} go on after Ctrl-C")
        new = {p.name for p in folder.iterdir()} - before
        expect(new == {"cluster.etcd"}, f"left behind: {new}")
        names = sorted(p.name for p in (folder / "cluster.etcd").iterdir())
        expect(names == ["m1", "m1.log", "m2", "m2.log", "m3", "m3.log"], f"in cluster.etcd: {names}")
    finally:
        if make.poll() is None:
            os.killpg(make.pid, signal.SIGKILL)
        make.wait()
        for p in pids:
            try:
                os.kill(p, signal.SIGKILL)
            except ProcessLookupError:
                pass
        place.end()
    print("make cluster: what it says works, and Ctrl-C ends it", flush=True)


def main(tools, args, folder):
    if not nameserver.inside():
        raise Skip("this user may not make network namespaces here (unshare -rmn)")
    run(["ip", "link", "set", "lo", "up"])
    three_commands(tools, folder / "hand")
    locked_doors(tools, folder / "doors")
    make_cluster(tools, folder / "make")


if __name__ == "__main__":
    nameserver.prepare()
    drive(main, __doc__, needs=["oracle-3.6"])
