#!/usr/bin/env python3
"""One data directory, handed to and fro between the program under test and a real etcd 3.6 under writes, by SIGTERM
and by kill -9. After each hand-over HashKV is what it was, every acknowledged write is there, and Go's own check
of the file passes. Then the moves between versions: a 3.5 directory opens here and goes back to 3.5 after a
downgrade; real tools accept our snapshots, and both programs start from what they restore."""

import json
import pathlib
import random
import sys
import time

sys.path.insert(0, str(pathlib.Path(__file__).resolve().parent.parent / "lib"))
from members import Conversation, Failure, Member, drive, expect, run, seed_of  # noqa: E402


def hand_overs(tools, folder, rounds, rnd):
    member = Member(folder / "swapped", ["--snapshot-count", "1000"]).start(tools.real)
    journal = Conversation([tools.interop, "journal", "--endpoint", member.endpoint])
    programs = [("ours", tools.ours), ("real", tools.real)]
    for i in range(rounds):
        name, program = programs[i % 2]
        journal.ask("run")
        journal.ask(f"fill {rnd.randrange(50, 500)}")
        if rnd.random() < 0.6:
            journal.ask("compact")
            journal.ask("fill 20")
        before = journal.ask("hash")
        how = "kill -9" if i % 4 >= 2 else "SIGTERM"
        if how == "SIGTERM":
            # The writers' connection must not hold up the stop, whatever they are doing.
            member.stop()
        else:
            time.sleep(rnd.uniform(0, 0.05))
            member.kill()
        tools.check_file(member.database)
        member.start(program)
        after = journal.ask(f"hash {before[1]}")
        expect(after == before, f"hand-over {i + 1} to {name} after {how}: HashKV at revision {before[1]} was "
                                f"(hash, revision, compacted) {before}, is {after}")
        journal.ask("pause")
        checked = journal.ask("check")
        print(f"hand-over {i + 1} to {name} after {how}: revision {checked[0]}, {checked[1]} keys, "
              f"{checked[2]} acknowledged, hash {after[0]} at {after[1]}", flush=True)
    journal.close()
    member.stop()
    tools.check_file(member.database)


def storage_version(tools, member):
    out = tools.etcdctl(member, "endpoint", "status", "-w", "json").stdout
    return json.loads(out)[0]["Status"].get("storageVersion", "")


def wait_storage_version(tools, member, version, seconds=40):
    deadline = time.monotonic() + seconds
    while time.monotonic() < deadline:
        now = storage_version(tools, member)
        if now == version:
            return
        time.sleep(0.2)
    raise Failure(f"storage version is {now!r} after {seconds} s, not {version}")


def old_version(tools, folder):
    """3.5 -> ours -> downgrade -> 3.5 -> ours."""
    member = Member(folder / "old").start(tools.real35)
    journal = Conversation([tools.interop, "journal", "--endpoint", member.endpoint])
    journal.ask("run")
    journal.ask("fill 300")
    journal.ask("pause")
    before = journal.ask("hash")
    member.stop()

    member.start(tools.ours)
    after = journal.ask("hash")
    # 3.5 does not tell the revision it hashed.
    expect((after[0], after[2]) == (before[0], before[2]), f"HashKV of a 3.5 directory was {before}, is {after} here")
    journal.ask("check")
    wait_storage_version(tools, member, "3.6.0")
    journal.ask("run")
    journal.ask("fill 200")
    journal.ask("pause")
    tools.etcdctl(member, "downgrade", "enable", "3.5")
    wait_storage_version(tools, member, "3.5.0")
    before = journal.ask("hash")
    member.stop()
    tools.check_file(member.database)
    print("3.5 to ours and down again", flush=True)

    member.start(tools.real35)
    after = journal.ask("hash")
    expect((after[0], after[2]) == (before[0], before[2]), f"HashKV after going back to 3.5 was {before}, is {after}")
    journal.ask("check")
    journal.ask("run")
    journal.ask("fill 100")
    journal.ask("pause")
    member.stop()
    member.start(tools.ours)
    journal.ask("check")
    journal.close()
    member.stop()
    tools.check_file(member.database)
    print("back to 3.5, and up again", flush=True)


def etcdutl(tools, *args):
    return run([tools.oracle, "etcdutl", *args]).stdout


def snapshots(tools, folder):
    member = Member(folder / "source").start(tools.ours)
    journal = Conversation([tools.interop, "journal", "--endpoint", member.endpoint])
    journal.ask("run")
    journal.ask("fill 300")
    journal.ask("pause")
    journal.ask("check")
    journal.ask("run")
    journal.ask("compact")
    journal.ask("fill 300")
    # Taken while the writers write.
    busy = folder / "busy.db"
    tools.etcdctl(member, "snapshot", "save", busy)
    journal.ask("pause")
    quiet = folder / "quiet.db"
    tools.etcdctl(member, "snapshot", "save", quiet)
    hashed = journal.ask("hash")
    journal.ask("check")
    journal.close()
    member.stop()
    for path in (busy, quiet):
        status = json.loads(etcdutl(tools, "snapshot", "status", path, "-w", "json"))
        expect(status["version"] == "3.6.0", f"etcdutl snapshot status says {status}")
        if path == quiet:
            expect(str(status["revision"]) == hashed[1], f"snapshot at revision {status['revision']}, store at {hashed[1]}")
        for name, program in (("ours", tools.ours), ("real", tools.real)):
            copy = Member(folder / f"restored-{path.stem}-{name}")
            peer = f"http://127.0.0.1:{copy.peer_port}"
            etcdutl(tools, "snapshot", "restore", path, "--data-dir", copy.data, "--name", "default",
                      "--initial-cluster", f"default={peer}", "--initial-advertise-peer-urls", peer)
            copy.start(program)
            if path == quiet:
                reader = Conversation([tools.interop, "journal", "--endpoint", copy.endpoint, "--writers", "0"])
                found = reader.ask("hash")
                reader.close()
                expect(found[0] == hashed[0], f"HashKV of the restored member is {found}, of its source {hashed}")
            copy.stop()
            tools.check_file(copy.database)
    print("snapshots accepted, restored and started by both", flush=True)


def main(tools, args, folder):
    seed = seed_of(args)
    parts = {"swap": lambda: hand_overs(tools, folder, 20 if args.long else 4, random.Random(seed)),
             "versions": lambda: old_version(tools, folder), "snapshots": lambda: snapshots(tools, folder)}
    for part in args.only or parts:
        parts[part]()


def arguments(parser):
    parser.add_argument("--seed", type=int)
    parser.add_argument("--only", action="append", choices=["swap", "versions", "snapshots"])


drive(main, __doc__, arguments, needs=("interop", "oracle-3.6", "etcd-3.5"))
