#!/usr/bin/env python3
"""Every operation by the Go client of 3.6 (tests/go/interop/client.go), then ten seconds (--long: a minute) of the
request pattern of a Kubernetes API server, with its watch caches compared with lists (kubernetes.go)."""

import pathlib
import sys

sys.path.insert(0, str(pathlib.Path(__file__).resolve().parent.parent / "lib"))
from members import Member, drive, stream  # noqa: E402


def main(tools, args, folder):
    member = Member(folder / "member").start(tools.ours)
    if args.part != "kubernetes":
        stream([tools.interop, "client", "--endpoint", member.endpoint], timeout=120)
    if args.part != "client":
        seconds = 60 if args.long else 10
        stream([tools.interop, "kubernetes", "--endpoint", member.endpoint, "--duration", f"{seconds}s"],
               timeout=seconds + 60)
    member.stop()


drive(main, __doc__, lambda p: p.add_argument("--part", choices=["client", "kubernetes"]), needs=("interop",))
