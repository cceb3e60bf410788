#!/usr/bin/env python3
"""KV.RangeStream of 3.7, which the program under test serves too: the same random requests to it and to a real
etcd 3.7, every chunk compared (tests/go/interop/rangestream.go)."""

import pathlib
import sys

sys.path.insert(0, str(pathlib.Path(__file__).resolve().parent.parent / "lib"))
from members import DIFFERENCES, Member, drive, seed_of, stream  # noqa: E402


def main(tools, args, folder):
    ours = Member(folder / "ours", constant_identity=True).start(tools.ours, wait=False)
    real = Member(folder / "real", constant_identity=True).start(tools.real37, wait=False)
    ours.wait_ready()
    real.wait_ready()
    requests = 10000 if args.long else 1500
    command = [tools.interop, "rangestream", "--ours", ours.endpoint, "--real", real.endpoint, "--known", DIFFERENCES,
               "--requests", requests, "--seed", seed_of(args)]
    stream(command, timeout=60 + requests // 10)
    ours.stop()
    real.stop()


drive(main, __doc__, lambda p: p.add_argument("--seed", type=int), needs=("interop", "etcd-3.7"))
