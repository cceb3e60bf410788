#!/usr/bin/env python3
"""Every operation by the Node client etcd3 (node/main.js). npm fetches it, as package-lock.json pins it, into the
folder of the other test programs; without Node, npm or the registry the test is skipped."""

import fcntl
import pathlib
import shutil
import sys

sys.path.insert(0, str(pathlib.Path(__file__).resolve().parent.parent / "lib"))
from members import Failure, Member, Skip, drive, run, stream  # noqa: E402

SOURCE = pathlib.Path(__file__).resolve().parent / "node"
NODE_MAJOR_MIN = 18


def install(folder):
    node, npm = shutil.which("node"), shutil.which("npm")
    if not node or not npm:
        raise Skip("node or npm is not installed")
    version = run([node, "--version"]).stdout.strip()
    if int(version.lstrip("v").split(".")[0]) < NODE_MAJOR_MIN:
        raise Skip(f"node is {version}, the client needs {NODE_MAJOR_MIN}")
    folder.mkdir(parents=True, exist_ok=True)
    with open(folder / "lock", "w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        done = folder / "installed"
        pinned = (SOURCE / "package-lock.json").read_text()
        if not done.exists() or done.read_text() != pinned:
            for name in ("package.json", "package-lock.json"):
                shutil.copy(SOURCE / name, folder / name)
            try:
                run([npm, "ci", "--no-audit", "--no-fund", "--ignore-scripts"], cwd=folder, timeout=120)
            except Failure as e:
                raise Skip(f"npm could not fetch the client: {e}") from None
            done.write_text(pinned)
    return node


def main(tools, args, folder):
    installed = tools.folder / "node_client"
    node = install(installed)
    member = Member(folder / "member").start(tools.ours)
    shutil.copy(SOURCE / "main.js", folder / "main.js")
    (folder / "node_modules").symlink_to(installed / "node_modules")
    stream([node, folder / "main.js", member.endpoint], timeout=120)
    member.stop()


if __name__ == "__main__":
    drive(main, __doc__)
