#!/usr/bin/env python3
"""`etcdutl check`: directories that members of any version left, by SIGTERM and by kill -9, and that restores made, are
sound. Then damages are planted at random, one at a time: flipped bits, zeroed, cut off and swapped blocks in log, snapshot
files and database. What check calls sound a member must start on, with the state of before. (A flipped bit inside a value
in the database shows nowhere: there only the start is asked for.)"""

import json
import pathlib
import random
import shutil
import sys

sys.path.insert(0, str(pathlib.Path(__file__).resolve().parent.parent / "lib"))
from members import Conversation, Failure, Member, drive, expect, run, seed_of  # noqa: E402

BLOCK = 4096


class Check:
    def __init__(self, tools):
        self.program = tools.ours[0].parent / "etcdutl"

    def report(self, folder):
        done = run([self.program, "check", folder, "-w", "json"], check=False)
        expect(done.returncode in (0, 1) and not done.stderr, f"check of {folder}: {done}")
        report = json.loads(done.stdout)
        expect(report["sound"] == (done.returncode == 0), f"exit code and report differ: {done}")
        return report

    def expect_sound(self, folder, what):
        report = self.report(folder)
        expect(report["sound"], f"{what}: {json.dumps(report['findings'], indent=1)}")


def history(tools, folder, program, snapshot_count=50):
    member = Member(folder, ["--snapshot-count", str(snapshot_count)]).start(program)
    journal = Conversation([tools.interop, "journal", "--endpoint", member.endpoint])
    journal.ask("run")
    journal.ask("fill 200")
    journal.ask("compact")
    journal.ask("fill 60")
    journal.ask("pause")
    journal.close()
    return member


def sound_directories(tools, check, folder, rnd):
    for name, program in (("ours", tools.ours), ("real", tools.real), ("3.5", tools.real35)):
        member = history(tools, folder / name, program)
        running = check.report(member.data)
        expect(not running["sound"] and "a member runs on this directory" in running["findings"][0]["what"],
               f"check of a running member: {running}")
        member.kill()
        check.expect_sound(member.data, f"{name} after kill -9")
        for _ in range(2):
            member.start(program)
            tools.etcdctl(member, "put", f"k{rnd.random()}", "v")
            member.stop()
            check.expect_sound(member.data, f"{name} after SIGTERM")
        print(f"directories of {name} are sound", flush=True)
    for i, program in enumerate(([tools.ours[0].parent / "etcdutl"], [tools.oracle, "etcdutl"])):
        data = folder / f"restored{i}"
        run([*program, "snapshot", "restore", folder / "ours" / "data/member/snap/db", "--data-dir", data, "--skip-hash-check",
             "--initial-cluster", "default=http://localhost:2380,b=http://localhost:2381", "--bump-revision", "100",
             "--mark-compacted"])
        check.expect_sound(data, "what a restore made")


def end_of_log(path):
    data = path.read_bytes()
    return len(data.rstrip(b"\0"))


def damage(folder, rnd):
    """Spoils one file; returns what was done, and whether a value may have changed where nobody can tell."""
    files = [folder / "member/snap/db", *(folder / "member/wal").glob("*.wal"), *(folder / "member/snap").glob("*.snap")]
    path = rnd.choice(files)
    data = bytearray(path.read_bytes())
    end = end_of_log(path) if path.suffix == ".wal" else len(data)
    if path.name == "db":
        # Behind the high-water mark, which page 0 or 1 names, nothing is used.
        end = max(int.from_bytes(data[p * BLOCK + 56:p * BLOCK + 64], "little") for p in (0, 1)) * BLOCK
    kind = rnd.choice(("flip", "zero", "cut", "swap", "remove"))
    at = rnd.randrange(end)
    if kind == "flip":
        data[at] ^= 1 << rnd.randrange(8)
    elif kind == "zero":
        begin = at // BLOCK * BLOCK
        data[begin:begin + BLOCK] = bytes(len(data[begin:begin + BLOCK]))
    elif kind == "cut":
        del data[at:]
    elif kind == "swap":
        a, b = at // BLOCK * BLOCK, rnd.randrange(max(end // BLOCK, 1)) * BLOCK
        one, other = data[a:a + BLOCK], data[b:b + BLOCK]
        if len(one) == len(other) == BLOCK:
            data[a:a + BLOCK], data[b:b + BLOCK] = other, one
    if kind == "remove":
        path.unlink()
    else:
        path.write_bytes(bytes(data))
    return f"{kind} {path.name} at {at}", kind == "flip" and path.name == "db"


def state_of(tools, member):
    status = json.loads(tools.etcdctl(member, "endpoint", "hashkv", "-w", "json").stdout)[0]["HashKV"]
    keys = tools.etcdctl(member, "get", "", "--prefix", "-w", "fields").stdout
    return (status["hash"], status["hash_revision"], [line for line in keys.splitlines() if not line.startswith(('"Raft',
                                                                                                                '"Cluster', '"Member'))])


def damaged_directories(tools, check, folder, rounds, rnd):
    member = history(tools, folder / "damaged", tools.ours)
    before = state_of(tools, member)
    member.stop()
    whole = folder / "whole"
    shutil.copytree(member.data, whole)
    sound = 0
    for _ in range(rounds):
        shutil.rmtree(member.data)
        shutil.copytree(whole, member.data)
        what, may_change = damage(member.data, rnd)
        report = check.report(member.data)
        if not report["sound"]:
            continue
        sound += 1
        program = rnd.choice((tools.ours, tools.real))
        try:
            member.start(program)
        except Failure as e:
            raise Failure(f"{what}: check finds nothing, but a member does not start: {e}") from None
        now = state_of(tools, member)
        member.stop()
        expect(now == before or may_change, f"{what}: check finds nothing, but the state is another: {now[:2]}, was {before[:2]}")
    print(f"{rounds} damages: {rounds - sound} named, {sound} changed nothing", flush=True)


def main(tools, args, folder):
    rnd = random.Random(seed_of(args))
    check = Check(tools)
    sound_directories(tools, check, folder, rnd)
    damaged_directories(tools, check, folder, 500 if args.long else 60, rnd)


drive(main, __doc__, lambda p: p.add_argument("--seed", type=int, help="repeats a run"), needs=["oracle-3.6", "etcd-3.5", "interop"])
