#!/usr/bin/env python3
"""What a machine of runbook_machines.py has in the place of systemd, ssh and a second user: systemctl, journalctl, ssh, scp and
chown, by the name this file is called by. Only what a runbook types.

    systemctl   starts a unit as its file says: variables, command line, READY=1 of Type=notify. As a service of the user etcd
                would, it refuses a data directory that root has made and nobody has given to that user
    journalctl  shows what a unit wrote
    ssh, scp    ask the driver, which reaches every machine
    chown       remembers what was given to the user etcd: the namespace of a driver has one user alone"""

import json
import os
import pathlib
import re
import shlex
import shutil
import signal
import socket
import subprocess
import sys
import time

UNITS = pathlib.Path("/etc/systemd/system")
RUN = pathlib.Path("/run/units")
JOURNAL = pathlib.Path("/var/log/journal")
AGENT = ("10.0.0.254", 2222)
STOP_SECONDS = 90


# ---- units ------------------------------------------------------------------------------------------------

class Unit:
    def __init__(self, name):
        self.name = name if "." in name else f"{name}.service"
        self.file = UNITS / self.name
        self.pid_file = RUN / self.name
        self.journal = JOURNAL / self.name
        if not self.file.exists():
            sys.exit(f"Unit {self.name} could not be found.")
        self.text = self.file.read_text(encoding="utf-8").replace("%H", socket.gethostname())

    def values(self, key):
        return re.findall(rf"^{key}=(.*)$", self.text, re.M)

    def value(self, key, default=""):
        return (self.values(key) or [default])[-1]

    @property
    def pid(self):
        """Of its process, if that runs."""
        try:
            pid = int(self.pid_file.read_text(encoding="ascii"))
            state = pathlib.Path(f"/proc/{pid}/stat").read_text(encoding="utf-8").rpartition(")")[2].split()[0]
            return None if state in "ZX" else pid
        except (OSError, ValueError):
            return None

    def environment(self):
        env = {"PATH": os.environ["PATH"]}
        for words in self.values("Environment"):
            env.update(w.split("=", 1) for w in shlex.split(words))
        for path in self.values("EnvironmentFile"):
            file = pathlib.Path(path.lstrip("-"))
            if file.exists():
                for line in file.read_text(encoding="utf-8").splitlines():
                    if "=" in line and not line.lstrip().startswith("#"):
                        name, _, value = line.partition("=")
                        env[name.strip()] = "".join(shlex.split(value))
        return env

    def command(self, env):
        words = []
        for word in shlex.split(self.value("ExecStart")):
            words += shlex.split(env.get(word[1:], "")) if word.startswith("$") else [word]
        return words

    def start(self, wait):
        if self.pid:
            return 0
        env = self.environment()
        words = self.command(env)
        RUN.mkdir(parents=True, exist_ok=True)
        JOURNAL.mkdir(parents=True, exist_ok=True)
        if self.value("Type") == "oneshot":
            with self.journal.open("ab") as out:
                return subprocess.run(words, env=env, stdout=out, stderr=out, stdin=subprocess.DEVNULL, check=False).returncode
        data = pathlib.Path(env.get("ETCD_DATA_DIR", "/nothing"))
        if self.value("User") == "etcd" and data.exists() and any(data.iterdir()) and not given(data):
            with self.journal.open("a", encoding="utf-8") as out:
                out.write('{"level":"fatal","msg":"discovery failed","error":"cannot access data directory: open '
                          f'{data}/.touch: permission denied"}}\n')
            return self.failed()
        if self.value("User") == "etcd" and data.parent.is_dir():
            data.mkdir(mode=0o700, exist_ok=True)  # as its first start would
            give(data)
        address = str(RUN / f"{self.name}.notify")
        pathlib.Path(address).unlink(missing_ok=True)
        notify = socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM)
        notify.bind(address)
        if wait:
            env["NOTIFY_SOCKET"] = address
        with self.journal.open("ab") as out:
            process = subprocess.Popen(words, env=env, stdout=out, stderr=out, stdin=subprocess.DEVNULL, start_new_session=True)
        self.pid_file.write_text(str(process.pid), encoding="ascii")
        notify.settimeout(0.1)
        while wait and self.value("Type") == "notify":
            try:
                if b"READY=1" in notify.recv(4096):
                    break
            except TimeoutError:
                pass
            if process.poll() is not None:
                return self.failed()
        return 0

    def failed(self):
        print(f"Job for {self.name} failed because the control process exited with error code.\n"
              f'See "systemctl status {self.name}" and "journalctl -xeu {self.name}" for details.', file=sys.stderr)
        return 1

    def stop(self):
        pid = self.pid
        if pid:
            os.kill(pid, signal.SIGTERM)
            deadline = time.monotonic() + STOP_SECONDS
            while self.pid == pid:
                if time.monotonic() > deadline:
                    os.kill(pid, signal.SIGKILL)
                time.sleep(0.02)
        return 0

    def is_active(self):
        state = "active" if self.pid or (self.name.endswith(".timer") and (RUN / self.name).exists()) else "inactive"
        print(state)
        return 0 if state == "active" else 3

    def status(self):
        pid = self.pid
        description = self.value("Description", self.name)
        print(f"● {self.name} - {description}\n     Loaded: loaded ({self.file}; enabled; preset: enabled)\n"
              f"     Active: {'active (running)' if pid else 'inactive (dead)'}")
        if pid:
            print(f"   Main PID: {pid} (etcd)")
        for line in journal(self.name)[-10:]:
            print(line)
        return 0 if pid else 3

    def enable(self, now):
        if self.name.endswith(".timer"):
            if not self.values("OnCalendar"):
                sys.exit(f"{self.name} has no time")
            if shutil.which("systemd-analyze"):
                for when in self.values("OnCalendar"):
                    subprocess.run(["systemd-analyze", "calendar", when], check=True, stdout=subprocess.DEVNULL)
            Unit(self.name.replace(".timer", ".service"))
            if now:
                RUN.mkdir(parents=True, exist_ok=True)
                self.pid_file.write_text("", encoding="ascii")
            return 0
        return self.start(True) if now else 0


def systemctl(words):
    flags = {w for w in words if w.startswith("-")}
    words = [w for w in words if not w.startswith("-")]
    if not words:
        sys.exit("nothing to do")
    verb, names = words[0], words[1:]
    if verb == "daemon-reload":
        return 0
    if verb == "list-timers":
        for path in UNITS.glob("*.timer"):
            print(f"{Unit(path.name).value('OnCalendar')}  {path.name}  {path.name.replace('.timer', '.service')}")
        return 0
    code = 0
    for name in names:
        unit = Unit(name)
        if verb in ("stop", "restart"):
            unit.stop()
        if verb in ("start", "restart"):
            code = max(code, unit.start("--no-block" not in flags))
        elif verb == "is-active":
            code = max(code, unit.is_active())
        elif verb == "status":
            code = max(code, unit.status())
        elif verb == "enable":
            code = max(code, unit.enable("--now" in flags))
        elif verb == "disable":
            code = max(code, unit.stop() if "--now" in flags else 0)
        elif verb != "stop":
            sys.exit(f"Unknown command verb {verb}.")
    return code


def journal(name):
    file = JOURNAL / name
    return file.read_text(encoding="utf-8", errors="replace").splitlines() if file.exists() else []


def journalctl(words):
    unit, count, follow, priority, only = None, None, False, None, None
    words = list(words)
    while words:
        word = words.pop(0)
        name, has, value = word.partition("=")
        if name in ("-u", "--unit", "-n", "--lines", "--since", "--until", "-p", "--priority", "-g", "--grep", "-o", "--output"):
            value = value if has else words.pop(0)
        if name in ("-u", "--unit"):
            unit = value
        elif name in ("-n", "--lines"):
            count = int(value)
        elif name in ("-p", "--priority"):
            priority = value
        elif name in ("-g", "--grep"):
            only = value
        elif word in ("-f", "--follow"):
            follow = True
    unit = unit if "." in unit else f"{unit}.service"
    # What a service writes to its standard error has the priority `info`, whatever it says.
    lines = [] if priority in ("err", "3", "warning", "4") else journal(unit)
    lines = [line for line in lines if not only or re.search(only, line)]
    print("\n".join(lines[-count if count else 0:]))
    sys.stdout.flush()
    if follow:
        os.execvp("tail", ["tail", "-n0", "-f", str(JOURNAL / unit)])
    return 0


# ---- users ------------------------------------------------------------------------------------------------

MARK = "user.owner"  # an attribute of what belongs to the user etcd; `cp -a` and `mv` keep it as they keep an owner


def give(path):
    try:
        os.setxattr(path, MARK, b"etcd")
    except OSError:
        pass


def given(path):
    try:
        os.setxattr(path, "user.tried", b"")
        return MARK in os.listxattr(path)
    except OSError:  # a file system without attributes
        return True


def chown(words):
    words = [w for w in words if not w.startswith("-")]
    for path in map(pathlib.Path, words[1:]):
        if not path.exists():
            print(f"chown: cannot access '{path}': No such file or directory", file=sys.stderr)
            return 1
        if words[0].startswith("etcd"):
            give(path)
            for child in path.iterdir() if path.is_dir() else ():
                give(child)
    return 0


# ---- other machines ---------------------------------------------------------------------------------------

def ask(request):
    with socket.create_connection(AGENT, timeout=20) as s:
        s.settimeout(300)
        s.sendall(json.dumps({"from": socket.gethostname(), "cwd": os.getcwd(), **request}).encode() + b"\n")
        answer = json.loads(s.makefile("rb").readline())
    sys.stdout.write(answer["stdout"])
    sys.stderr.write(answer["stderr"])
    return answer["code"]


def ssh(words):
    while words and words[0].startswith("-"):
        words = words[2:] if words[0] in ("-o", "-i", "-p", "-l") else words[1:]
    script = " ".join(words[1:])
    return ask({"do": "ssh", "host": words[0].rpartition("@")[2], "script": script or sys.stdin.read()})


def scp(words):
    words = [w for w in words if not w.startswith("-")]
    return ask({"do": "scp", "what": words[:-1], "to": words[-1]})


if __name__ == "__main__":
    sys.exit({"systemctl": systemctl, "journalctl": journalctl, "chown": chown, "ssh": ssh,
              "scp": scp}[pathlib.Path(sys.argv[0]).name](sys.argv[1:]))
