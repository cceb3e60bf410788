#!/usr/bin/env python3
"""How the process begins and ends, beside a real etcd 3.6: which signals it survives, a start with standard
descriptors closed, starts that are refused (the words are compared), and a stop while nobody reads the log."""

import fcntl
import json
import os
import pathlib
import signal
import subprocess
import sys
import time

sys.path.insert(0, str(pathlib.Path(__file__).resolve().parent.parent / "lib"))
from members import Failure, Member, die_with_parent, drive, expect  # noqa: E402

SURVIVED = [signal.SIGUSR1, signal.SIGUSR2, signal.SIGALRM, signal.SIGVTALRM, signal.SIGPROF, signal.SIGXCPU,
            signal.SIGXFSZ, signal.SIGIO, signal.SIGPWR, signal.SIGPIPE, signal.SIGWINCH, signal.SIGRTMAX]
CLOSED = ["0<&-", "1>&-", "2>&-", "0<&- 1>&- 2>&-"]
# Each ends with exit code 1 and one error that is the same.
REFUSED = [
    ["--listen-client-urls=http://127.0.0.1:99999"],
    ["--listen-client-urls=http://127.0.0.1:18446744073709551617"],
    ["--listen-peer-urls=http://127.0.0.1:65536"],
    ["--listen-metrics-urls=http://127.0.0.1:70000"],
    ["--config-file=/tmp"],
    ["--config-file=/none"],
    ["--config-file=/etc/passwd/x"],
    ["--data-dir=/proc/x"],
    ["--data-dir=/etc/passwd"],
    ["--data-dir=/etc/passwd/x"],
    ["--log-outputs=file://host/x"],
    ["--log-outputs=http://x/y"],
]
# etcd runs with these and does not use them.
UNUSED = [["--memory-mlock"], ["--bcrypt-cost=4"], ["--auth-token-ttl=5"], ["--self-signed-cert-validity=5"],
          ["--peer-skip-client-san-verification"], ["--distributed-tracing-sampling-rate=100"],
          ["--cert-file=/none", "--key-file=/none"]]
ENDS_IN_SECONDS = 30  # as long as a request may take, ten seconds, and what a busy machine needs


def last_error(member):
    for line in reversed(member.log.read_text(errors="replace").splitlines()):
        try:
            said = json.loads(line)
        except ValueError:
            continue
        if "error" in said:
            return f"{said['level']}: {said['msg']}: {said['error']}"
    return "no error"


def refused(folder, program, flags):
    member = Member(folder, flags)
    member.start(program, wait=False)
    try:
        code = member.process.wait(ENDS_IN_SECONDS)
    except subprocess.TimeoutExpired:
        raise Failure(f"{flags} is not refused by {program[0]}") from None
    return code, last_error(member)


def stop_with_a_full_log(folder, program):
    """Nobody reads the log any more, and the pipe is full."""
    member = Member(folder)
    read, write = os.pipe()
    fcntl.fcntl(write, fcntl.F_SETPIPE_SZ, 1 << 20)
    member.process = subprocess.Popen(member.command(program), stdout=write, stderr=write, stdin=subprocess.DEVNULL,
                                      preexec_fn=die_with_parent)
    member.wait_ready()
    os.set_blocking(write, False)
    for size in (4096, 1):
        try:
            while True:
                os.write(write, b"x" * size)
        except BlockingIOError:
            pass
    os.set_blocking(write, True)
    began = time.monotonic()
    member.process.send_signal(signal.SIGTERM)
    try:
        code = member.process.wait(ENDS_IN_SECONDS)
    except subprocess.TimeoutExpired:
        raise Failure(f"the stop did not end within {ENDS_IN_SECONDS} s while nobody read the log") from None
    finally:
        os.close(read)
        os.close(write)
    expect(code == -signal.SIGTERM, f"a stop with a full log ended with {code}")
    print(f"a stop with a full log took {time.monotonic() - began:.0f} s")


def main(tools, args, folder):
    for name, program in (("real", tools.real), ("ours", tools.ours)):
        member = Member(folder / f"{name}-signals").start(program)
        for number in SURVIVED:
            member.process.send_signal(number)
        time.sleep(0.5)
        expect(member.process.poll() is None, f"{name}: a signal that should be survived ended it")
        member.wait_ready()
        member.stop()
        for i, closed in enumerate(CLOSED):
            shell = ["/bin/sh", "-c", f'exec "$@" {closed}', "sh", *program]
            Member(folder / f"{name}-closed{i}").start(shell).stop()
    for i, flags in enumerate(UNUSED):
        Member(folder / f"unused{i}", flags).start(tools.ours).stop()
    different = 0
    for i, flags in enumerate(REFUSED):
        real, ours = (refused(folder / f"refused{i}" / name, program, flags)
                      for name, program in (("real", tools.real), ("ours", tools.ours)))
        real, ours = ((code, text.replace("/real/", "/").replace("/ours/", "/")) for code, text in (real, ours))
        if real != ours:
            different += 1
            print(f"DIFFERENCE {flags}\n  real {real}\n  ours {ours}")
    expect(different == 0, f"{different} starts are refused in other words")
    stop_with_a_full_log(folder / "full-log", tools.ours)


if __name__ == "__main__":
    drive(main, __doc__, needs=["oracle-3.6"])
