#!/usr/bin/env python3
"""What operators type. Machines with names, addresses and paths of their own (runbook_machines.py), members of the program under
test on them, and the tools: ours where they stand beside it, else those of a real 3.6.

    page       docs/runbook.md, each block in order, with what it promises (runbook_page.py)
    originals  the runbooks that people use, as they are written, where ../shared/runbooks is there (runbook_originals.py)"""

import pathlib
import sys

sys.path.insert(0, str(pathlib.Path(__file__).resolve().parent.parent / "lib"))
import nameserver  # noqa: E402
from members import drive  # noqa: E402
import runbook_originals  # noqa: E402
import runbook_page  # noqa: E402

PARTS = {"page": runbook_page.run, "originals": runbook_originals.run}


def main(tools, args, folder):
    for name, part in PARTS.items():
        if not args.part or name in args.part:
            print(name, flush=True)
            part(tools, args, folder)


def arguments(parser):
    parser.add_argument("--part", action="append", choices=list(PARTS), help="only this part")
    parser.add_argument("--section", action="append", help="only procedures whose name begins so, or blocks such as 2.14")
    parser.add_argument("--tools", choices=["auto", "real", "ours"], default="auto", help="which etcdctl and etcdutl; auto: ours "
                        "if they stand beside the program under test")


if __name__ == "__main__":
    nameserver.prepare()
    drive(main, __doc__, arguments, needs=["oracle-3.6"])
