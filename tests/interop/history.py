#!/usr/bin/env python3
"""The check of a cluster's history must see what it is for: planted wrong histories, each to be found by name
(tests/go/interop/history_test.go). Starts no members."""

import pathlib
import shutil
import sys

sys.path.insert(0, str(pathlib.Path(__file__).resolve().parent.parent / "lib"))
from members import TESTS, Skip, drive, run  # noqa: E402


def main(tools, args, folder):
    if not shutil.which("go"):
        raise Skip("Go is not installed")
    done = run(["go", "test", "-count=1", "-v", "."], timeout=250, cwd=TESTS / "go" / "interop",
               env={"GOFLAGS": "-mod=mod", "GOTOOLCHAIN": "local"})
    print("\n".join(line for line in done.stdout.splitlines() if line.startswith(("---", "ok"))))


drive(main, __doc__, needs=("interop",))
