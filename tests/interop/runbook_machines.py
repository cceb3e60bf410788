"""Machines for runbooks: each has a network, processes, a host name and a root directory of its own, with /usr of this machine.
Addresses, ports and paths are therefore those that an operator types. etcd runs as deploy/etcd.service says.

    machines = Machines(tools, folder, kinds of the tools)
    machines.add("etcd-1", "10.0.0.1")
    done = machines["etcd-1"].type("etcdctl member list", seconds=20)     # in a terminal of its own: bash
    machines.close()

All of it ends with the driver. Needs namespaces (nameserver.prepare())."""

import json
import os
import pathlib
import re
import shutil
import signal
import socketserver
import ssl
import subprocess
import threading
import time
import urllib.request

import nameserver
from members import Failure, Member, Skip, die_with_parent, expect, run

HERE = pathlib.Path(__file__).resolve().parent
ROOT = HERE.parent.parent
BRIDGE = "10.0.0.254"
# What the runbooks type.
NEEDED = {"etcdctl": ["get", "put", "txn", "compaction", "member add", "endpoint health", "endpoint hashkv", "alarm list", "defrag",
                      "snapshot save", "move-leader", "downgrade validate", "auth enable", "user add", "role add", "check perf"],
          "etcdutl": ["snapshot restore", "snapshot status"]}
COMMANDS = ("systemctl", "journalctl", "chown", "ssh", "scp")
# The first process of a machine: $1 is its folder, $2 its name, the rest programs. It waits for every process that is left over.
FIRST = """
set -e
root=$1/root
mount --make-rprivate /
mount --rbind /usr "$root/usr"
mount --bind "$1/local" "$root/usr/local/bin"
[ ! -d /etc/alternatives ] || mount --bind /etc/alternatives "$root/etc/alternatives"
mount --rbind /dev "$root/dev"
mount -t proc proc "$root/proc"
hostname "$2"
ip link set lo up
shift 2
for pair; do mount --bind "${pair#*:}" "$root/opt/programs/${pair%%:*}"; done
echo ready
while :; do sleep 100000 & wait $!; done
"""


class Machine:
    """`name`, `host` (its address), `root` (its files as this machine sees them)."""

    def __init__(self, machines, name, host, aliases):
        self.machines, self.name, self.host, self.aliases = machines, name, host, list(aliases)
        self.folder = machines.folder / name
        self.root = self.folder / "root"
        self.local = self.folder / "local"
        self.log = self.file("/var/log/journal/etcd.service")
        Member.members.append(self)  # its log is shown when a driver fails
        for d in ("usr", "proc", "dev", "opt/programs", "root", "tmp", "run", "etc/systemd/system", "etc/default", "etc/etcd",
                  "etc/cron.d", "etc/ssl", "etc/alternatives", "var/lib/etcd", "var/log", "var/backups", "backup", "home", "mnt"):
            (self.root / d).mkdir(parents=True)
        self.local.mkdir()
        for link in ("bin", "sbin", "lib", "lib64"):
            if os.path.islink(f"/{link}"):
                (self.root / link).symlink_to(os.readlink(f"/{link}"))
        for kept in ("passwd", "group", "nsswitch.conf", "ssl/openssl.cnf", "ld.so.cache", "localtime"):
            if (source := pathlib.Path("/etc") / kept).exists():
                shutil.copy(source, self.root / "etc" / kept)
        (self.root / "etc/resolv.conf").write_text("nameserver 127.0.0.1\noptions timeout:1 attempts:1\n")
        (self.root / "etc/hosts").write_text(machines.hosts)
        for path, text in machines.files.items():
            self.write(path, text)
        programs = []
        for where, program in machines.programs.items():
            (self.root / "opt/programs" / where).touch()
            programs.append(f"{where}:{program}")
        (self.root / "opt/programs/real").mkdir()
        for tool in ("etcd", "etcdctl", "etcdutl"):
            (self.root / "opt/programs/real" / tool).symlink_to("../oracle")
        for name_, program in machines.commands.items():
            self.command(name_, program)
        for name_ in COMMANDS:
            (self.local / name_).write_text(machines.script, encoding="utf-8")
            (self.local / name_).chmod(0o755)
        self.keeper = subprocess.Popen(
            ["unshare", "--mount", "--net", "--pid", "--uts", "--fork", "--kill-child", "bash", "-c", FIRST, "first",
             str(self.folder), name, *programs], stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True,
            preexec_fn=die_with_parent)
        if self.keeper.stdout.readline() != "ready\n":
            self.keeper.kill()
            raise Skip(f"no namespaces for a machine here: {self.keeper.stderr.read().strip()}")
        self.first = pathlib.Path(f"/proc/{self.keeper.pid}/task/{self.keeper.pid}/children").read_text(encoding="ascii").split()[0]
        self.enter = ["nsenter", "--target", self.first, "--mount", "--net", "--pid", "--uts", "chroot", str(self.root)]
        veth = f"v{len(machines.all)}"
        run(["ip", "link", "add", veth, "type", "veth", "peer", "name", "eth0", "netns", self.first])
        run(["ip", "link", "set", veth, "master", "br0", "up"])
        for address in (host, *aliases):
            self.ip("addr", "add", f"{address}/16", "dev", "eth0")
        self.ip("link", "set", "eth0", "up")

    def ip(self, *words):
        run(["nsenter", "--target", self.first, "--net", "--", "ip", *words])

    def file(self, path):
        """A path of the machine as the driver sees it."""
        if path.startswith("/usr/local/bin/"):
            return self.local / path.removeprefix("/usr/local/bin/")
        return self.root / path.lstrip("/")

    def write(self, path, text, mode=None):
        file = self.file(path)
        file.parent.mkdir(parents=True, exist_ok=True)
        file.write_text(text, encoding="utf-8")
        if mode:
            file.chmod(mode)

    def command(self, name, line):
        """/usr/local/bin/NAME runs `line` with what it is called with."""
        script = self.local / name
        script.unlink(missing_ok=True)  # one that runs keeps its file
        script.write_text(f'#!/bin/sh\nexec {line} "$@"\n', encoding="utf-8")
        script.chmod(0o755)

    def type(self, text, seconds=60, env=None, shell=("bash",)):
        """What a terminal shows: (exit code, stdout, stderr). Ends with 124 after `seconds`."""
        words = [*self.enter, "env", "-i", "PATH=/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin", "HOME=/root", "LANG=C.UTF-8",
                 *(f"{k}={v}" for k, v in (env or {}).items()), "timeout", "-k", "2", str(seconds), *shell, "-c",
                 f"cd /root\n{text}"]
        try:
            done = subprocess.run(words, capture_output=True, check=False, timeout=seconds + 30, stdin=subprocess.DEVNULL,
                                  preexec_fn=die_with_parent)
        except subprocess.TimeoutExpired:
            raise Failure(f"on {self.name}, not ended after {seconds} s: {text}") from None
        return done.returncode, done.stdout.decode("utf-8", "replace"), done.stderr.decode("utf-8", "replace")

    def must(self, text, seconds=60, env=None):
        code, out, err = self.type(text, seconds, env)
        expect(code == 0, f"on {self.name}, exit {code}: {text}\n{out}{err}\n{self.log_tail()}")
        return out

    @property
    def running(self):
        return self.type("systemctl is-active etcd")[0] == 0

    def kill(self):
        """As a power cut would: every process but the first."""
        for child in pathlib.Path("/proc").glob("[0-9]*/status"):
            try:
                text = child.read_text(encoding="utf-8")
                if os.readlink(child.parent / "ns/pid") != os.readlink(f"/proc/{self.first}/ns/pid"):
                    continue
            except OSError:
                continue
            pid = int(child.parent.name)
            if pid != int(self.first) and "Name:\tsleep" not in text:
                try:
                    os.kill(pid, signal.SIGKILL)
                except ProcessLookupError:
                    pass

    def wipe(self):
        """As a new disk would be."""
        for program in self.local.iterdir():
            if program.name not in (*self.machines.commands, *COMMANDS):
                program.unlink()
        for path in ("/var/lib", "/var/lib/etcd", "/var/log/journal", "/var/backups", "/backup", "/run", "/tmp", "/root"):
            shutil.rmtree(self.file(path), ignore_errors=True)
            self.file(path).mkdir(parents=True, exist_ok=True)

    def cut(self, other):
        """Nothing reaches the other machine from here: its address leads to hardware that nobody has."""
        self.machines.cuts.add((self.name, other.name))
        for address in (other.host, *other.aliases):
            self.ip("neigh", "replace", address, "lladdr", "02:00:00:00:00:99", "dev", "eth0", "nud", "permanent")

    def heal(self, other):
        for address in (other.host, *other.aliases):
            run(["nsenter", "--target", self.first, "--net", "--", "ip", "neigh", "del", address, "dev", "eth0"], check=False)

    def health(self, seconds=2):
        """The answer of /health, or what went wrong."""
        try:
            with urllib.request.urlopen(f"{self.machines.scheme}://{self.host}:2379/health", timeout=seconds,
                                        context=self.machines.tls) as r:
                return r.read().decode()
        except (OSError, ValueError) as e:
            return f"{e}"

    def end(self):
        self.keeper.kill()
        self.keeper.wait()

    def log_tail(self, lines=8):
        if not self.log.exists():
            return ""
        return "\n".join(line[:400] for line in self.log.read_text(encoding="utf-8", errors="replace").splitlines()[-lines:])


class Machines:
    """`files` are written on each machine: {path: text}; `hosts` is their /etc/hosts."""

    def __init__(self, tools, folder, asked, hosts, files):
        if not nameserver.inside():
            raise Skip("this user may not make network namespaces here (unshare -rmn)")
        self.tools, self.folder, self.hosts = tools, folder, hosts
        unit = (ROOT / "deploy" / "etcd.service").read_text(encoding="utf-8").replace("/usr/bin/etcd", "/usr/local/bin/etcd")
        self.files = {"/etc/systemd/system/etcd.service": unit, **files}
        folder.mkdir(parents=True)
        self.all, self.cuts = {}, set()
        # Without what a user has installed for Python, which it would look for at each command.
        self.script = (HERE / "runbook_commands.py").read_text(encoding="utf-8").replace("/usr/bin/env python3", "/usr/bin/python3 -IS", 1)
        self.tls, self.scheme = None, "http"
        beside = tools.ours[0].parent
        self.programs = {"etcd": tools.ours[0], "oracle": tools.oracle}
        self.commands = {"etcd": "/opt/programs/etcd"}
        self.ours = set()
        for tool in ("etcdctl", "etcdutl"):
            there = (beside / tool).exists()
            if asked == "ours" and not there:
                raise Failure(f"no {tool} of ours stands beside {tools.ours[0]}")
            if there and asked == "auto":
                helps = {}
                lacking = []
                for command in NEEDED[tool]:
                    *parent, name = command.split()
                    text = helps.setdefault(tuple(parent), run([beside / tool, *parent, "--help"], check=False).stdout)
                    if not re.search(rf"^\s+{name}\s", text, re.M):
                        lacking.append(command)
                if lacking:
                    print(f"the {tool} beside {tools.ours[0].name} has no `{lacking[0]}` yet: that of a real 3.6 is used", flush=True)
                    there = False
            if there and asked != "real":
                self.programs[tool] = beside / tool
                self.commands[tool] = f"/opt/programs/{tool}"
                self.ours.add(tool)
            else:
                self.commands[tool] = f"/opt/programs/real/{tool} {tool}"
        if re.search(r"^\s+--repair\b", run([tools.ours[0], "--help"], check=False).stdout, re.M):
            self.ours.add("etcd")  # it does more than a real one
        self.real = {tool: f"/opt/programs/real/{tool} {tool}" for tool in ("etcd", "etcdctl", "etcdutl")}
        run(["ip", "link", "set", "lo", "up"])
        run(["ip", "link", "add", "br0", "type", "bridge"], check=False)
        run(["ip", "link", "set", "br0", "up"])
        run(["ip", "addr", "replace", f"{BRIDGE}/16", "dev", "br0"])
        self.agent = Agent(self)

    def __getitem__(self, name):
        return self.all[name]

    def add(self, name, host, aliases=()):
        self.all[name] = Machine(self, name, host, aliases)
        return self.all[name]

    def secure(self, ca, certificate, key):
        self.tls = ssl.create_default_context(cafile=str(ca))
        self.tls.load_cert_chain(str(certificate), str(key))
        self.scheme = "https"

    def wait_healthy(self, names, seconds=60):
        deadline = time.monotonic() + seconds
        for name in names:
            while '"health":"true"' not in (said := self[name].health()):
                expect(time.monotonic() < deadline, f"{name} is not healthy after {seconds} s: {said}\n{self[name].log_tail()}")
                time.sleep(0.1)

    def heal_all(self):
        for a, b in self.cuts:
            self.all[a].heal(self.all[b])
        self.cuts.clear()

    def close(self):
        self.agent.close()
        for machine in self.all.values():
            machine.end()
            shutil.rmtree(machine.folder, ignore_errors=True)
        Member.members[:] = [m for m in Member.members if m not in self.all.values()]
        for i in range(len(self.all)):
            run(["ip", "link", "del", f"v{i}"], check=False)


class Agent:
    """What ssh and scp on the machines talk to."""

    def __init__(self, machines):
        agent = self

        class Handler(socketserver.StreamRequestHandler):
            def handle(self):
                try:
                    answer = agent.answer(json.loads(self.rfile.readline()))
                except Exception as e:  # pylint: disable=broad-except
                    answer = (255, "", f"ssh: {e}\n")
                self.wfile.write(json.dumps(dict(zip(("code", "stdout", "stderr"), answer))).encode() + b"\n")

        self.machines = machines
        socketserver.ThreadingTCPServer.allow_reuse_address = True
        self.server = socketserver.ThreadingTCPServer((BRIDGE, 2222), Handler)
        self.server.daemon_threads = True
        threading.Thread(target=self.server.serve_forever, daemon=True).start()

    def find(self, host):
        for machine in self.machines.all.values():
            if host in (machine.name, machine.host):
                return machine
        raise Failure(f"no machine {host}")

    def answer(self, request):
        if request["do"] == "ssh":
            return self.find(request["host"]).type(request["script"], 120)
        here = self.find(request["from"])

        def place(word):
            host, colon, path = word.rpartition(":")
            path = path if path.startswith("/") else f"{'/root' if colon else request['cwd']}/{path}"
            return (self.find(host.rpartition("@")[2]) if colon else here).file(path)
        to = place(request["to"])
        for word in request["what"]:
            shutil.copy(place(word), to)
        return 0, "", ""

    def close(self):
        self.server.shutdown()
        self.server.server_close()
