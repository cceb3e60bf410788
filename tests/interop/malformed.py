#!/usr/bin/env python3
"""Broken HTTP/2 and gRPC input, frame by frame, to the program under test and to a real etcd 3.6: the answers are
compared (tests/go/interop/malformed.go). Afterwards both must still serve, and stop cleanly."""

import pathlib
import sys

sys.path.insert(0, str(pathlib.Path(__file__).resolve().parent.parent / "lib"))
from members import DIFFERENCES, Member, drive, stream  # noqa: E402


def main(tools, args, folder):
    ours = Member(folder / "ours", constant_identity=True).start(tools.ours, wait=False)
    real = Member(folder / "real", constant_identity=True).start(tools.real, wait=False)
    ours.wait_ready()
    real.wait_ready()
    command = [tools.interop, "malformed", "--ours", ours.endpoint, "--real", real.endpoint, "--known", DIFFERENCES]
    stream(command + (["--verbose"] if args.long else []), timeout=200)
    for member in (ours, real):
        member.wait_ready(10)
        member.stop()


drive(main, __doc__, needs=("interop", "oracle-3.6"))
