#!/usr/bin/env python3
"""Every operation by python3-etcd3, Debian's Python client, in Debian's own Python."""

import pathlib
import subprocess
import sys

sys.path.insert(0, str(pathlib.Path(__file__).resolve().parent.parent / "lib"))
from members import Member, Skip, drive, stream  # noqa: E402

PYTHON = "/usr/bin/python3"


def main(tools, args, folder):
    probe = [PYTHON, "-c", "import etcd3"]
    try:
        if subprocess.run(probe, stderr=subprocess.DEVNULL, timeout=60, check=False).returncode != 0:
            raise Skip(f"{PYTHON} has no etcd3 (Debian package python3-etcd3)")
    except FileNotFoundError:
        raise Skip(f"{PYTHON} is not there") from None
    member = Member(folder / "member").start(tools.ours)
    script = pathlib.Path(__file__).resolve().parent / "python_etcd3_steps.py"
    stream([PYTHON, script, member.client_port, folder], timeout=120)
    member.stop()


drive(main, __doc__)
