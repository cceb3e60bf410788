#!/usr/bin/env python3
"""The same random requests to the program under test and to a real etcd 3.6; every field of every answer, error
codes and texts, and watch batches are compared (tests/go/interop/differential.go). On the way both are stopped and
killed a few times, and go on from what they kept."""

import pathlib
import sys

sys.path.insert(0, str(pathlib.Path(__file__).resolve().parent.parent / "lib"))
from members import DIFFERENCES, Member, drive, seed_of, stream  # noqa: E402

FLAGS = ["--watch-progress-notify-interval", "500ms"]


def main(tools, args, folder):
    ours = Member(folder / "ours", FLAGS, constant_identity=True).start(tools.ours, wait=False)
    real = Member(folder / "real", FLAGS, constant_identity=True).start(tools.real, wait=False)
    ours.wait_ready()
    real.wait_ready()
    requests = args.requests or (20000 if args.long else 3000)
    command = [tools.interop, "differential", "--ours", ours.endpoint, "--real", real.endpoint, "--known", DIFFERENCES,
               "--requests", requests, "--restarts", "--seed", seed_of(args)]
    if args.skip:
        command += ["--skip", args.skip]

    def restart(line):
        for member, program in ((ours, tools.ours), (real, tools.real)):
            if line.split()[1] == "SIGKILL":
                member.kill()
            else:
                member.stop()
            member.start(program, wait=False)
        ours.wait_ready()
        real.wait_ready()
        return "done"

    stream(command, timeout=60 + requests // 10, answer={"RESTART": restart})
    ours.stop()
    real.stop()
    tools.check_file(ours.database)


def arguments(parser):
    parser.add_argument("--requests", type=int, help="how many (default 3000, with --long 20000)")
    parser.add_argument("--seed", type=int)
    parser.add_argument("--skip", help="scenarios to leave out, separated by commas")


drive(main, __doc__, arguments, needs=("interop", "oracle-3.6"))
