#!/usr/bin/env python3
"""Our etcdctl beside the real one of 3.6: the same command lines, against a Quoin and against a real member; standard
output, standard error and exit code are compared byte by byte. Differences that are meant are printed as a table.

The cases stand in etcdctl_cases_*.py (tests/lib/etcdctl_case.py says how). Of each kind of server there are two equal
members: one is given what the real tool sends, the other what ours sends, so that a command that changes something
finds the same state. The short form has Quoins alone. A failing case ends the run of its list on that kind, since the
members may differ from then on.
"""

import concurrent.futures
import importlib
import os
import pathlib
import re
import shlex
import socket
import subprocess
import sys
import threading
import time

HERE = pathlib.Path(__file__).resolve().parent
sys.path.insert(0, str(HERE.parent / "lib"))
sys.path.insert(0, str(HERE))
from etcdctl_case import MASKED, mask_log_line  # noqa: E402
from members import Failure, Member, Skip, die_with_parent, drive, expect, run  # noqa: E402


# Takes connections and says nothing.
SILENT_SOCKET = socket.create_server(("127.0.0.1", 0))
SILENT = f"127.0.0.1:{SILENT_SOCKET.getsockname()[1]}"


class Tool:
    """One of the two programs, with the member it talks to and what it printed for later cases."""

    def __init__(self, command, member, is_real, folder):
        self.command = [str(c) for c in command]
        self.member = member
        self.is_real = is_real
        self.folder = folder
        self.names = {"endpoint": member.endpoint if member else "127.0.0.1:1", "silent": SILENT}

    def run(self, case):
        words = case.words(self.names)
        if case.server:
            words = ["--endpoints", self.names["endpoint"], *words]
        env = {k: v for k, v in os.environ.items() if not k.startswith("ETCDCTL_")}
        env["GOMAXPROCS"] = "1"  # the real one starts faster so
        env.update({k: v.replace("{endpoint}", self.names["endpoint"]) for k, v in case.env.items()})
        child = subprocess.Popen([*self.command, *words], stdin=subprocess.PIPE, stdout=subprocess.PIPE,
                                 stderr=subprocess.PIPE, env=env, cwd=self.folder, preexec_fn=die_with_parent)
        if case.lines is None:
            try:
                out, err = child.communicate(case.stdin.encode(), case.timeout)
            except subprocess.TimeoutExpired:
                child.kill()
                out, err = child.communicate()
                return out, err, "timeout"
            return out, err, child.returncode
        return self.run_until(child, case)

    @staticmethod
    def run_until(child, case):
        """Reads so many lines, then ends the command."""
        out = []
        reader = threading.Thread(target=lambda: out.extend(child.stdout.readline() for _ in range(case.lines)),
                                  daemon=True)
        errors = []
        error_reader = threading.Thread(target=lambda: errors.append(child.stderr.read()), daemon=True)
        reader.start()
        error_reader.start()
        child.stdin.write(case.stdin.encode())
        child.stdin.flush()
        reader.join(case.timeout)
        if case.hold:
            child.stdin.close()
        else:
            child.terminate()
        try:
            code = child.wait(case.timeout)
        except subprocess.TimeoutExpired:
            child.kill()
            code = "timeout"
        if not reader.is_alive():
            out.append(child.stdout.read())
        error_reader.join(5)
        return b"".join(out), b"".join(errors), code

    def masked(self, case, out, err, code):
        """The texts that are compared."""
        texts = []
        for bytes_ in (out, err):
            text = bytes_.decode("utf-8", "backslashreplace")
            text = "\n".join(mask_log_line(line) for line in text.split("\n"))
            for name, value in self.names.items():
                if re.fullmatch(r"[0-9a-f]{16}", value):  # others are the same for both
                    for spelled in (value, str(int(value, 16)), f"{int(value, 16):x}"):
                        text = text.replace(spelled, f"<{name}>")
            text = text.replace(self.names["endpoint"], "<endpoint>").replace(str(self.folder), "<folder>")
            for pattern, replacement in case.mask:
                text = re.sub(pattern, replacement, text)
            texts.append(text)
        if self.is_real:
            texts[1] = without_second_error(texts[1])
        return (*texts, code)


def without_second_error(err):
    """The oracle's own main function prints what cobra refused once more behind it; the real program's does not."""
    for line in re.findall(r"^Error: (.*)$", err, re.M):
        if err.endswith("\n" + line + "\n"):
            return err[:-len(line) - 1]
    m = re.match(r"Error: (unknown command .*?)\nRun 'etcdctl", err, re.S)
    if m and err.endswith(m.group(1) + "\n"):
        return err[:-len(m.group(1)) - 1]
    return err


def show(result):
    out, err, code = result
    return f"exit {code}\n--- standard output\n{out[:3000]}\n--- standard error\n{err[:3000]}"


class Comparison:
    def __init__(self, only):
        self.only = re.compile(only) if only else None
        self.lock = threading.Lock()
        self.count = 0
        self.meant = {}
        self.failures = []

    def compare(self, case, real, ours, where):
        """False: they differ, and nobody said so."""
        with concurrent.futures.ThreadPoolExecutor(2) as pool:
            results = list(pool.map(lambda t: t.run(case), (real, ours)))
        masked = [t.masked(case, *r) for t, r in zip((real, ours), results)]
        if case.save:
            for tool, result in zip((real, ours), results):
                found = re.search(case.save[1], result[0].decode("utf-8", "replace"))
                if not found:
                    self.fail(case, where, masked, f"nothing to save as {case.save[0]}")
                    return False
                tool.names[case.save[0]] = found.group(1)
            masked = [t.masked(case, *r) for t, r in zip((real, ours), results)]
        equal = masked[0] == masked[1]
        with self.lock:
            self.count += 1
            if case.meant and not equal:
                self.meant[case.title] = case.meant
        if case.meant and equal and not case.may:
            self.fail(case, where, masked, f"both are the same, though ours was said to differ: {case.meant}")
            return False
        if not case.meant and not equal:
            self.fail(case, where, masked, "they differ")
            return False
        return True

    def fail(self, case, where, masked, why):
        with self.lock:
            self.failures.append(case.title)
            env = f" with {case.env}" if case.env else ""
            print(f"=== {where}: etcdctl {case.title}{env}: {why}\n--- the real one: {show(masked[0])}\n"
                  f"--- ours: {show(masked[1])}", flush=True)

    def run_list(self, cases, real, ours, where, go_on):
        for case in cases:
            if self.only and not self.only.search(case.title):
                continue
            if not self.compare(case, real, ours, where) and not go_on:
                return


def twins(program, folder, kind, name):
    """Two members of one kind with the same identity."""
    out = [Member(folder / f"{kind}-{name}-{i}", constant_identity=True) for i in (1, 2)]
    for m in out:
        m.start(program, wait=False)
    return out


def main(tools, args, folder):
    program = tools.ours[0].parent / "etcdctl"
    if not program.exists():
        raise Skip(f"{program} is not built")
    began = time.monotonic()
    comparison = Comparison(args.only)
    lists = {p.stem: importlib.import_module(p.stem) for p in sorted(HERE.glob("etcdctl_cases_*.py"))}
    groups = {}
    for name, module in lists.items():
        if args.list and args.list not in name:
            continue
        group = name if getattr(module, "FRESH", False) else "shared"
        groups.setdefault(group, []).extend(module.CASES)
    alone = [c for cases in groups.values() for c in cases if not c.server]

    def run_group(group, cases, kind, server):
        pair = twins(server, folder, kind, group)
        for m in pair:
            m.wait_ready()
        work = folder / f"{kind}-{group}-work"
        work.mkdir()
        both = [Tool([tools.oracle, "etcdctl"], pair[0], True, work), Tool([program], pair[1], False, work)]
        comparison.run_list([c for c in cases if c.server], *both, kind, args.go_on)
        if group == "shared":
            try_broken_outputs(pair[1])
        for m in pair:
            m.end()

    def try_bash_completion():
        """Our script in a real bash; the program's own answers are compared with cobra's by cases."""
        for line, expected in (("etcdctl lease ke", "keep-alive"), ("etcdctl get --write-out=js", "json"),
                               ("etcdctl comp", "compaction completion"), ("etcdctl get --order ", "ASCEND DESCEND")):
            words = re.findall(r"=|[^\s=]+", line) + ([""] if line[-1] in " =" else [])
            script = (f"PATH={program.parent}:$PATH; source <({program} completion bash); "
                      f"COMP_WORDS=({shlex.join(words)}); COMP_CWORD={len(words) - 1}; __etcdctl_complete 2>/dev/null; "
                      f"echo \"${{COMPREPLY[*]}}\"")
            said = run(["bash", "-c", script]).stdout.strip()
            expect(said == expected, f"bash completes {line!r} to {said!r}, not {expected!r}")

    def try_broken_outputs(member):
        """A reader that goes away ends both programs in the same way; a full disk is an error for ours alone."""
        endpoint = ["--endpoints", member.endpoint]
        for i in range(2):
            run([program, *endpoint, "put", f"large{i}"], stdin="x" * 900_000)
        for tool in ([program], [tools.oracle, "etcdctl"]):
            line = shlex.join(map(str, [*tool, *endpoint, "get", "large", "--prefix"]))
            said = run(["bash", "-c", f"{line} | head -c 10 >/dev/null; echo ${{PIPESTATUS[0]}}"]).stdout.strip()
            expect(said == "141", f"{line} with a broken pipe ended with {said}")
        full = run(["bash", "-c", f"{shlex.join(map(str, [program, *endpoint, 'get', 'large0']))} >/dev/full"], check=False)
        expect(full.returncode == 1 and full.stderr == "Error: write /dev/stdout: no space left on device\n",
               f"a full disk: exit {full.returncode}, {full.stderr!r}")

    def run_alone(cases):
        """Those that ask no server."""
        both = [Tool([tools.oracle, "etcdctl"], None, True, folder), Tool([program], None, False, folder)]
        comparison.run_list(cases, *both, "no server", True)

    try_bash_completion()
    with concurrent.futures.ThreadPoolExecutor(5) as pool:
        jobs = [pool.submit(run_alone, alone[::2]), pool.submit(run_alone, alone[1::2])]
        for group, cases in groups.items():
            for kind, server in (("quoin", tools.ours), ("etcd", [tools.oracle, "etcd"])):
                if args.kind == kind or (args.kind is None and (args.long or kind == "quoin")):
                    jobs.append(pool.submit(run_group, group, cases, kind, server))
        for job in jobs:
            job.result()

    comparison.meant["get a >/dev/full"] = "ours says that the disk is full and exits 1; 3.6 exits 0"
    print("Differences that are meant:")
    for title, why in [*MASKED, *sorted(comparison.meant.items())]:
        print(f"  {title}\n      {why}")
    print(f"{comparison.count} command lines compared in {time.monotonic() - began:.1f} s")
    if comparison.failures:
        raise Failure(f"{len(comparison.failures)} differ: {comparison.failures}")


def add_arguments(parser):
    parser.add_argument("--only", help="cases whose command line has this pattern")
    parser.add_argument("--list", help="the lists whose names have this text")
    parser.add_argument("--kind", choices=("quoin", "etcd"), help="one kind of server alone")
    parser.add_argument("--go-on", action="store_true", help="go on after a difference")


if __name__ == "__main__":
    drive(main, __doc__, add_arguments, needs=("oracle-3.6",))
