#!/usr/bin/env python3
"""Plants one fault at a time and asks whether the tests see it.

tests/mutants/<area>/NN-name.patch holds one fault each: a unified diff from the root of the tree, with lines above it
that say which test must fail:

    # test: <test program> <gtest filter>         may stand more than once; one failing is enough
    # run: <path below the build folder> <args>   another program, seen by its exit code

The tests named must pass on the tree as it is, and fail (or not end) with the fault. A fault that no longer applies
or does not compile guards nothing: it counts as not seen, so that somebody moves it along with the code.

Works in copies of the tree below build/mutants, one a job; the checkout is not touched. Exits 1 if fewer than 95 of
100 faults are seen.
"""
import argparse
import concurrent.futures
import os
import pathlib
import queue
import re
import shlex
import shutil
import subprocess
import sys

ROOT = pathlib.Path(__file__).resolve().parent.parent
PATCHES = ROOT / "tests" / "mutants"
SEEN_MIN = 0.95
TEST_SECONDS_MAX = 300


class Mutant:
    def __init__(self, path):
        self.path = path
        self.name = str(path.relative_to(PATCHES))[: -len(".patch")]
        text = path.read_text(encoding="utf-8")
        self.tests = re.findall(r"^# test: (\S+) (\S+)$", text, re.M)
        self.runs = re.findall(r"^# run: (\S+) ?(.*)$", text, re.M)

    def targets(self):
        return sorted({t for t, _ in self.tests} | {os.path.basename(p) for p, _ in self.runs})


class Tree:
    """A copy of the checkout with a build folder of its own."""

    def __init__(self, number, jobs):
        self.root = ROOT / "build" / "mutants" / str(number)
        self.build = self.root / "build" / "release"
        self.jobs = jobs

    def refresh(self):
        """Copies what differs, so that the build stays warm from run to run."""
        self.root.mkdir(parents=True, exist_ok=True)
        listed = subprocess.run(["git", "-C", ROOT, "ls-files", "-z"], check=True, capture_output=True).stdout
        names = {n for n in listed.decode().split("\0") if n}
        for name in names:
            source, copy = ROOT / name, self.root / name
            if not source.exists():
                continue
            if not copy.exists() or copy.read_bytes() != source.read_bytes():
                copy.parent.mkdir(parents=True, exist_ok=True)
                shutil.copyfile(source, copy)
                shutil.copymode(source, copy)
        for folder in ("src", "scenarios"):
            for path in (self.root / folder).rglob("*"):
                if path.is_file() and str(path.relative_to(self.root)) not in names:
                    path.unlink()
        shared = self.root.parent / "shared"  # where tests look for recorded traces: beside the tree
        if not shared.exists() and (ROOT.parent / "shared").exists():
            shared.symlink_to(ROOT.parent / "shared")
        if not (self.build / "build.ninja").exists():
            subprocess.run(["cmake", "--preset", "release"], cwd=self.root, check=True, stdout=subprocess.DEVNULL)

    def make(self, targets):
        """The compiler's words, or nothing."""
        done = subprocess.run(["ninja", "-C", self.build, f"-j{self.jobs}", *targets], capture_output=True, text=True,
                              check=False)
        return "" if done.returncode == 0 else done.stdout[-2000:]

    def program(self, name):
        found = [p for p in self.build.rglob(name) if p.is_file() and os.access(p, os.X_OK)]
        return found[0] if found else None

    def command_passes(self, command):
        try:
            return subprocess.run(command, cwd=self.build, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL,
                                  timeout=TEST_SECONDS_MAX, check=False).returncode == 0
        except subprocess.TimeoutExpired:
            return False

    def first_failure(self, mutant):
        """The first test named that fails; None if all pass. A filter that matches nothing is a failure of its own."""
        for target, pattern in mutant.tests:
            program = self.program(target)
            listed = subprocess.run([program, f"--gtest_filter={pattern}", "--gtest_list_tests"], capture_output=True,
                                    text=True, check=False).stdout
            if "  " not in listed:
                return f"no test matches {target} {pattern}"
            if not self.command_passes([program, f"--gtest_filter={pattern}"]):
                return f"{target} {pattern}"
        for path, arguments in mutant.runs:
            if not self.command_passes([self.build / path, *shlex.split(arguments)]):
                return f"{path} {arguments}"
        return None

    def patch(self, mutant, *options):
        done = subprocess.run(["patch", "-p1", "-s", "-F0", "--no-backup-if-mismatch", *options, "-i", mutant.path],
                              cwd=self.root, capture_output=True, text=True, check=False)
        return done.returncode == 0


def judge(tree, mutant):
    """(seen, what to say)"""
    if not mutant.tests and not mutant.runs:
        return False, "names no test"
    if not tree.patch(mutant, "--dry-run"):
        return False, "does not apply"
    tree.patch(mutant)
    try:
        words = tree.make(mutant.targets())
        if words:
            return False, "does not compile:\n" + words
        failed = tree.first_failure(mutant)
        return (failed is not None), (f"seen by {failed}" if failed else "SURVIVED")
    finally:
        tree.patch(mutant, "-R")


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--only", action="append", help="only faults whose name begins so, e.g. edge/03")
    parser.add_argument("--jobs", type=int, default=os.cpu_count())
    parser.add_argument("--list", action="store_true")
    args = parser.parse_args()
    mutants = [Mutant(p) for p in sorted(PATCHES.rglob("*.patch"))]
    if args.only:
        mutants = [m for m in mutants if any(m.name.startswith(o) for o in args.only)]
    if args.list:
        for m in mutants:
            print(m.name, "|", "; ".join(f"{t} {f}" for t, f in m.tests + m.runs))
        return 0
    if not mutants:
        print("no planted faults match")
        return 1

    trees = [Tree(n, 1 if args.jobs > 1 else os.cpu_count()) for n in range(args.jobs)]
    targets = sorted({t for m in mutants for t in m.targets()})
    for tree in trees:
        tree.refresh()
        words = tree.make([f"-j{os.cpu_count()}", *targets])
        if words:
            print("the tree as it is does not build:\n" + words)
            return 1
    for mutant in mutants:
        failed = trees[0].first_failure(mutant)
        if failed:
            print(f"{mutant.name}: fails without the fault, too: {failed}")
            return 1

    free = queue.SimpleQueue()
    for tree in trees:
        free.put(tree)

    def run(mutant):
        tree = free.get()
        try:
            return mutant, *judge(tree, mutant)
        finally:
            free.put(tree)

    seen = 0
    with concurrent.futures.ThreadPoolExecutor(len(trees)) as pool:
        for mutant, ok, words in pool.map(run, mutants):
            seen += ok
            print(f"{'ok  ' if ok else 'FAIL'} {mutant.name}: {words}", flush=True)
    print(f"{seen} of {len(mutants)} planted faults seen")
    return 0 if seen >= SEEN_MIN * len(mutants) else 1


if __name__ == "__main__":
    sys.exit(main())
