"""Members under test: free ports, starting, readiness, stopping, and how a driver skips or fails.

Everything a driver starts goes through Member or run(), so that nothing outlives it: children die with their
driver (PR_SET_PDEATHSIG), listen on the loopback only, and every wait has an end.

Exit codes of a driver: 0 passed, 1 failed, 77 skipped (ctest's SKIP_RETURN_CODE); the reason is printed.
"""

import argparse
import ctypes
import fcntl
import json
import os
import pathlib
import random
import shutil
import signal
import socket
import subprocess
import sys
import tempfile
import threading
import time
import traceback
import urllib.request

TESTS = pathlib.Path(__file__).resolve().parent.parent
DIFFERENCES = TESTS / "interop" / "differences.md"
READY_SECONDS = 60
STOP_SECONDS = 30


class Skip(Exception):
    """The test can't run here; the text says what is missing."""


class Failure(Exception):
    """A check did not hold; the text says which."""


# ---- ports ------------------------------------------------------------------------------------------------

_reserved = []


def free_port():
    """A port nobody listens on, below the range outgoing connections are given, and reserved against other
    drivers that run beside this one until it ends."""
    user = os.environ.get("QUOIN_TEST_USER", os.getuid())  # a driver in a namespace of its own is 0 there
    folder = pathlib.Path(tempfile.gettempdir()) / f"quoin-test-ports-{user}"
    folder.mkdir(exist_ok=True)
    for _ in range(1000):
        port = random.randrange(11000, 32000)
        lock = open(folder / str(port), "w")
        try:
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
            with socket.socket() as s:
                s.bind(("127.0.0.1", port))
        except OSError:
            lock.close()
            continue
        _reserved.append(lock)
        return port
    raise Failure("no free port found")


# ---- processes --------------------------------------------------------------------------------------------

_PR_SET_PDEATHSIG = 1
_libc = ctypes.CDLL(None)


def die_with_parent():
    _libc.prctl(_PR_SET_PDEATHSIG, signal.SIGKILL)


def run(args, timeout=60, check=True, env=None, text=True, stdin=None, cwd=None):
    """Runs a command to its end and returns it; with check, a non-zero exit is a Failure that shows its output."""
    try:
        done = subprocess.run([str(a) for a in args], stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=text,
                              timeout=timeout, env={**os.environ, **(env or {})}, input=stdin, cwd=cwd,
                              preexec_fn=die_with_parent)
    except subprocess.TimeoutExpired as e:
        def tail(b):
            return (b.decode("utf-8", "replace") if isinstance(b, bytes) else (b or ""))[-3000:]
        raise Failure(f"{args[0]} took more than {timeout} s: {' '.join(map(str, args[1:]))}\n"
                      f"{tail(e.stdout)}{tail(e.stderr)}") from None
    if check and done.returncode != 0:
        raise Failure(f"exit {done.returncode}: {' '.join(map(str, args))}\n{done.stdout}{done.stderr}")
    return done


def stream(args, timeout, answer=None):
    """Runs a command whose output goes to the driver's; a non-zero exit is a Failure. A line whose first word is in
    `answer` is a question to the driver instead: the function there is called with it, and what it returns is
    written to the command."""
    sys.stdout.flush()
    child = subprocess.Popen([str(a) for a in args], preexec_fn=die_with_parent, text=True, bufsize=1,
                             stdin=subprocess.PIPE, stdout=subprocess.PIPE if answer else None)
    timer = threading.Timer(timeout, child.kill)
    timer.start()
    began = time.monotonic()
    try:
        for line in child.stdout or ():
            word = line.split(maxsplit=1)[:1]
            if word and word[0] in answer:
                child.stdin.write(answer[word[0]](line) + "\n")
                child.stdin.flush()
            else:
                print(line, end="", flush=True)
        code = child.wait()
    finally:
        timer.cancel()
        if child.poll() is None:
            child.kill()
            child.wait()
    if time.monotonic() - began >= timeout:
        raise Failure(f"{args[0]} {args[1]} took more than {timeout} s")
    if code != 0:
        raise Failure(f"{pathlib.Path(args[0]).name} {args[1]}: exit {code}")


class Conversation:
    """A child that is told what to do line by line, and answers each line with one that begins with `ok`."""

    def __init__(self, args):
        self.args = [str(a) for a in args]
        self.child = subprocess.Popen(self.args, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True, bufsize=1,
                                      preexec_fn=die_with_parent)

    def ask(self, line, timeout=120):
        """Sends a line and returns the words after `ok`; anything else is a Failure."""
        try:
            self.child.stdin.write(line + "\n")
            self.child.stdin.flush()
        except BrokenPipeError:
            raise Failure(f"{self.args[1]} ended before `{line}`") from None
        said = []
        old = signal.signal(signal.SIGALRM, self._late)
        signal.alarm(timeout)
        try:
            for answer in self.child.stdout:
                if answer.startswith("ok"):
                    return answer.split()[1:]
                said.append(answer)
        finally:
            signal.alarm(0)
            signal.signal(signal.SIGALRM, old)
        raise Failure(f"{self.args[1]}: `{line}` failed\n{''.join(said)}")

    def _late(self, *_):
        raise Failure(f"{self.args[1]} did not answer in time")

    def close(self):
        try:
            self.child.stdin.close()
            self.child.wait(30)
        except (subprocess.TimeoutExpired, BrokenPipeError):
            self.child.kill()
            self.child.wait()


class Member:
    """One single-member cluster: a data directory, its ports, and whatever program serves it at the moment.

    The program may change between two starts; ports, name and advertised URLs stay, so the directory keeps its
    identity. With advertise=True the advertised URLs are constants, so that two fresh members get equal IDs.
    """

    members = []

    def __init__(self, folder, flags=(), constant_identity=False):
        self.folder = pathlib.Path(folder)
        self.folder.mkdir(parents=True, exist_ok=True)
        self.data = self.folder / "data"
        self.log = self.folder / "log"
        self.client_port = free_port()
        self.peer_port = free_port()
        self.flags = list(flags)
        self.constant_identity = constant_identity
        self.process = None
        self.starts = 0
        Member.members.append(self)

    @property
    def endpoint(self):
        return f"127.0.0.1:{self.client_port}"

    @property
    def url(self):
        return f"http://{self.endpoint}"

    @property
    def database(self):
        return self.data / "member" / "snap" / "db"

    @property
    def pid(self):
        return self.process.pid

    def command(self, program):
        peer = "http://127.0.0.1:1" if self.constant_identity else f"http://127.0.0.1:{self.peer_port}"
        client = "http://127.0.0.1:2" if self.constant_identity else self.url
        return [*map(str, program), "--name", "default", "--data-dir", str(self.data),
                "--listen-client-urls", self.url, "--advertise-client-urls", client,
                "--listen-peer-urls", f"http://127.0.0.1:{self.peer_port}",
                "--initial-advertise-peer-urls", peer, "--initial-cluster", f"default={peer}", *self.flags]

    def start(self, program, wait=True):
        """Starts the program (a list: the path, then leading arguments) on this directory."""
        self.starts += 1
        with open(self.log, "ab") as log:
            log.write(f"--- start {self.starts}: {' '.join(map(str, program))}\n".encode())
            log.flush()
            self.process = subprocess.Popen(self.command(program), stdout=log, stderr=log, stdin=subprocess.DEVNULL,
                                            preexec_fn=die_with_parent)
        if wait:
            self.wait_ready()
        return self

    def _get(self, path):
        with urllib.request.urlopen(self.url + path, timeout=2) as r:
            return r.read()

    def wait_ready(self, seconds=READY_SECONDS):
        deadline = time.monotonic() + seconds
        why = "nothing tried"
        while time.monotonic() < deadline:
            if self.process.poll() is not None:
                raise Failure(f"the member ended with {self.process.returncode} before it was ready")
            try:
                # Unlike /health, this does not mind alarms, which a test may have raised.
                self._get("/readyz/linearizable_read")
                version = json.loads(self._get("/version"))
                # A fresh 3.6 member agrees with itself on the versions a moment after it is healthy.
                if "storage" not in version or version["storage"] == version["etcdcluster"]:
                    return
                why = f"/version says {version}"
            except (OSError, ValueError) as e:
                why = str(e)
            time.sleep(0.03)
        raise Failure(f"the member was not ready after {seconds} s: {why}")

    def stop(self):
        """SIGTERM and wait; a member that does not go in time is a Failure."""
        self.process.send_signal(signal.SIGTERM)
        try:
            code = self.process.wait(STOP_SECONDS)
        except subprocess.TimeoutExpired:
            raise Failure(f"SIGTERM did not end the member within {STOP_SECONDS} s") from None
        if code not in (0, -signal.SIGTERM):
            raise Failure(f"after SIGTERM the member ended with {code}")

    def kill(self):
        self.process.kill()
        self.process.wait()

    def end(self):
        if self.process is not None and self.process.poll() is None:
            self.kill()

    def log_tail(self, lines=12):
        try:
            tail = self.log.read_text(errors="replace").splitlines()[-lines:]
        except FileNotFoundError:
            return ""
        return "\n".join(line if len(line) <= 300 else line[:300] + "…" for line in tail)


# ---- tools ------------------------------------------------------------------------------------------------

class Tools:
    """The program under test and what it is compared with."""

    def __init__(self, etcd, oracle):
        self.ours = [pathlib.Path(etcd).resolve()]
        self.folder = pathlib.Path(oracle).resolve()
        self.other = None  # a program that is compared with instead of the built one
        if self.folder.is_file():
            self.other = None if self.folder.name == "oracle-3.6" else self.folder
            self.folder = self.folder.parent
        if not self.ours[0].exists():
            raise Failure(f"no program at {self.ours[0]}")

    def built(self, name):
        """The path of a program of tests/build_go.sh; without it the test is skipped."""
        path = self.folder / name
        if not path.exists():
            raise Skip(f"{path} is not there (tests/build_go.sh builds it where Go is new enough)")
        return path

    @property
    def oracle(self):
        return self.built("oracle-3.6")

    @property
    def real(self):
        return [self.other] if self.other else [self.oracle, "etcd"]

    @property
    def real35(self):
        return [self.built("etcd-3.5")]

    @property
    def real37(self):
        return [self.built("etcd-3.7")]

    @property
    def interop(self):
        return self.built("interop")

    def etcdctl(self, member, *args, **kw):
        return run([self.oracle, "etcdctl", "--endpoints", member.endpoint, *args], **kw)

    def check_file(self, path):
        """Go's own check of a bolt file."""
        run([self.oracle, "bbolt-check", path])


def expect(condition, text):
    if not condition:
        raise Failure(text)


def seed_of(args):
    """The seed of a run: the one asked for. Else the short form, which every change must pass, always takes the
    same one, and the long form a new one."""
    seed = args.seed or (random.randrange(1, 1 << 31) if args.long else 1)
    print(f"seed {seed}", flush=True)
    return seed


def drive(main, description, add_arguments=None, needs=()):
    """Runs a driver or benchmark: main(tools, args, folder). `folder` is gone afterwards, unless QUOIN_KEEP is set.
    Without the programs of tests/build_go.sh it names in `needs` it is skipped."""
    parser = argparse.ArgumentParser(description=description)
    parser.add_argument("--etcd", "--quoin", required=True, help="the program under test")
    parser.add_argument("--oracle", required=True, help="folder with the programs of tests/build_go.sh, or another etcd "
                        "that stands in it")
    parser.add_argument("--long", action="store_true", help="the long form")
    parser.add_argument("--folder", help="where the data goes (default: the system's folder for temporary files)")
    if add_arguments:
        add_arguments(parser)
    args = parser.parse_args()
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(1))
    folder = pathlib.Path(tempfile.mkdtemp(prefix="quoin-test-", dir=args.folder))
    code = 1
    try:
        tools = Tools(args.etcd, args.oracle)
        for name in needs:
            tools.built(name)
        main(tools, args, folder)
        print("passed")
        code = 0
    except Skip as why:
        print(f"SKIPPED: {why}")
        code = 77
    except Exception as e:  # pylint: disable=broad-except
        if isinstance(e, Failure):
            print(f"FAILED: {e}")
        else:
            traceback.print_exc(file=sys.stdout)
        for m in Member.members:
            print(f"--- end of {m.log}\n{m.log_tail()}")
    finally:
        for m in Member.members:
            m.end()
        if os.environ.get("QUOIN_KEEP"):
            print(f"kept {folder}")
        else:
            shutil.rmtree(folder, ignore_errors=True)
    sys.stdout.flush()
    sys.exit(code)
