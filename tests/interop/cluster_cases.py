#!/usr/bin/env python3
"""What went wrong for people who run clusters (tests/cases/): each case is run on real members and on those under test, and
what the two see is compared: codes and texts, member lists, exits, watches. A case also fails by itself where it checks what
must hold in any case."""

import os
import pathlib
import shutil
import sys
import time

TESTS = pathlib.Path(__file__).resolve().parent.parent
sys.path.insert(0, str(TESTS / "lib"))
sys.path.insert(0, str(TESTS / "cases"))
import cluster as clusters  # noqa: E402
from case import CASES, Case  # noqa: E402
from members import DIFFERENCES, Failure, Member, drive  # noqa: E402
import corruption_cases  # noqa: E402,F401
import founding_cases  # noqa: E402,F401
import members_cases  # noqa: E402,F401
import service_cases  # noqa: E402,F401


def known(name, note):
    """A meant difference: `case/NAME/LABEL` in differences.md."""
    label = note.partition(":")[0]
    return f"`case/{name}/{label}`" in DIFFERENCES.read_text()


def once(tools, folder, name, kinds, args):
    t = Case(tools, folder, kinds, args)
    began = time.monotonic()
    try:
        CASES[name](t)
    finally:
        t.close()
        Member.members.clear()
        if not os.environ.get("QUOIN_KEEP"):
            shutil.rmtree(folder, ignore_errors=True)
    return t.notes, time.monotonic() - began


def compare(name, real, ours):
    different = []
    for i in range(max(len(real), len(ours))):
        a = real[i] if i < len(real) else "nothing"
        b = ours[i] if i < len(ours) else "nothing"
        if a != b:
            different.append((a, b))
    for a, b in different:
        word = "known" if known(name, b) else "DIFFERENCE"
        print(f"  {word} in {name}\n    real: {a}\n    ours: {b}", flush=True)
    return [d for d in different if not known(name, d[1])]


def main(tools, args, folder):
    names = [n for n in CASES if not args.only or any(n.startswith(o) for o in args.only)]
    if args.list:
        for n in names:
            print(f"{n}: {CASES[n].__doc__.splitlines()[0]}")
        return
    bad = []
    for name in names:
        kinds = clusters.kinds_of(args)
        reference = args.reference.split(",")
        try:
            ours, seconds = once(tools, folder / f"{name}-ours", name, kinds, args)
            if args.alone:
                real = ours
            else:
                real, _ = once(tools, folder / f"{name}-real", name, reference, args)
            different = compare(name, real, ours)
        except Failure as e:
            print(f"{name}: FAILED: {e}", flush=True)
            for m in Member.members:
                m.end()
            Member.members.clear()
            bad.append(name)
            continue
        if different:
            bad.append(name)
        print(f"{name}: {len(ours)} notes, {len(different)} differ; {seconds:.1f} s", flush=True)
        if args.notes:
            print("\n".join(f"    {n}" for n in ours), flush=True)
    if bad:
        raise Failure(f"{len(bad)} of {len(names)} cases: {', '.join(bad)}")


def arguments(parser):
    parser.add_argument("--members", default="quoin,quoin,quoin", help="the kinds of the members under test")
    parser.add_argument("--reference", default="3.6,3.6,3.6")
    parser.add_argument("--only", action="append", help="cases whose name begins so")
    parser.add_argument("--alone", action="store_true", help="no comparison")
    parser.add_argument("--notes", action="store_true", help="print what was seen")
    parser.add_argument("--verbose", action="store_true", help="the same, while it happens")
    parser.add_argument("--list", action="store_true")


drive(main, __doc__, arguments, needs=("interop", "oracle-3.6"))
