#!/usr/bin/env python3
"""The Debian package and the image, tried on a copy of this machine that is thrown away: an overlay in namespaces of its own.

    package   Debian's etcd-server runs as its unit runs it and is given data; quoin.deb is installed over it, and runs as
              its own unit says, as the same user, on the same data; it is removed, and Debian's come back
    unit      systemd's own check of the unit, where systemd-analyze is there
    image     what the container file puts into an image, run as the user 65532 in a root directory of that alone"""

import base64
import json
import os
import pathlib
import re
import shlex
import shutil
import signal
import subprocess
import sys
import time

TESTS = pathlib.Path(__file__).resolve().parent.parent
ROOT = TESTS.parent
sys.path.insert(0, str(TESTS / "lib"))
from members import Skip, drive, expect  # noqa: E402

WAIT_SECONDS = 60
COPY = """
set -e
ip link set lo up
mount -t tmpfs tmpfs "$1"
mkdir "$1/upper" "$1/work" "$1/root"
mount -t overlay overlay -o "lowerdir=/,upperdir=$1/upper,workdir=$1/work" "$1/root"
mount -t proc proc "$1/root/proc"
for device in null zero random urandom; do mount --bind /dev/$device "$1/root/dev/$device" 2>/dev/null ||
  { touch "$1/root/dev/$device" && mount --bind /dev/$device "$1/root/dev/$device"; }; done
mount -t tmpfs tmpfs "$1/root/run"
mount -t tmpfs tmpfs "$1/root/tmp"
echo ready
exec sleep 100000
"""


class Copy:
    """This machine's files, without its network and processes; what is written is gone with it."""

    def __init__(self, folder):
        folder.mkdir()
        self.root = folder / "root"
        self.keeper = subprocess.Popen(
            ["unshare", "--mount", "--net", "--pid", "--fork", "--kill-child", "sh", "-c", COPY, "copy", str(folder)],
            stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)
        if self.keeper.stdout.readline() != "ready\n":
            raise Skip(f"no overlay in a namespace here: {self.keeper.stderr.read().strip()}")
        inside = pathlib.Path(f"/proc/{self.keeper.pid}/task/{self.keeper.pid}/children").read_text(encoding="ascii").split()[0]
        self.enter = ["nsenter", "--target", inside, "--mount", "--net", "--pid"]

    def command(self, words, root=None):
        return [*self.enter, "chroot", str(root or self.root), *words]

    def run(self, *words, root=None, code=0, **options):
        env = {"PATH": "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin", "LC_ALL": "C.UTF-8",
               "DEBIAN_FRONTEND": "noninteractive", **options.pop("env", {})}
        done = subprocess.run(self.command(words, root), stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True,
                              check=False, timeout=300, env=env, **options)
        expect(done.returncode == code, f"{shlex.join(words)} ended with {done.returncode}: {done.stdout}")
        return done.stdout

    def end(self):
        self.keeper.kill()
        self.keeper.wait()


class Service:
    """A unit run as systemd would run it: its variables, its file of them, its user, its command line."""

    def __init__(self, copy, unit, log):
        text = (copy.run("cat", unit)).replace("%H", "node1").replace("%p", "etcd")
        def lines(name):
            return re.findall(rf"^{name}=(.*)$", text, re.M)
        environment = dict(e.split("=", 1) for e in lines("Environment"))
        for path in lines("EnvironmentFile"):
            listed = copy.run("sh", "-c", 'set -a; . "$0"; env', path.lstrip("-"))
            environment.update(e.split("=", 1) for e in listed.splitlines() if e.startswith(("ETCD_", "DAEMON_ARGS=")))
        words = shlex.split(lines("ExecStart")[0].replace("$DAEMON_ARGS", environment.get("DAEMON_ARGS", "")))
        user = lines("User")[0]
        self.copy, self.log = copy, open(log, "w+", encoding="utf-8")
        self.process = subprocess.Popen(
            copy.command(["env", "-i", *(f"{k}={v}" for k, v in environment.items()), "setpriv", f"--reuid={user}",
                          f"--regid={user}", "--clear-groups", "--no-new-privs", *words]),
            stdout=self.log, stderr=subprocess.STDOUT)
        limit = time.monotonic() + WAIT_SECONDS
        while '"health":"true"' not in self.get("/health") and '"health": "true"' not in self.get("/health"):
            self.log.seek(0)
            expect(self.process.poll() is None and time.monotonic() < limit, f"{unit} does not serve:\n{self.log.read()[-3000:]}")
            time.sleep(0.1)

    def get(self, path, body=None):
        """An answer of the client port, as a container of its own network asks it."""
        script = ("import sys,urllib.request as u\n"
                  "try: print(u.urlopen('http://127.0.0.1:2379'+sys.argv[1], sys.argv[2].encode() or None, timeout=5).read().decode())\n"
                  "except OSError as e: print(e)")
        return self.copy.run("python3", "-c", script, path, body or "")

    def put(self, key, value):
        said = self.get("/v3/kv/put", json.dumps({"key": coded(key), "value": coded(value)}))
        expect("revision" in said, f"put: {said}")

    def value(self, key):
        found = json.loads(self.get("/v3/kv/range", json.dumps({"key": coded(key)}))).get("kvs")
        return base64.b64decode(found[0]["value"]).decode() if found else None

    def stop(self):
        end(self.process)


def end(process):
    """Stops a program that nsenter waits for. Exit code 0, or of the signal: nsenter dies of the signal its child died of."""
    children = pathlib.Path(f"/proc/{process.pid}/task/{process.pid}/children").read_text(encoding="ascii").split()
    for child in children:
        os.kill(int(child), signal.SIGTERM)
    expect(process.wait(WAIT_SECONDS) in (0, -signal.SIGTERM), f"the program ends with {process.returncode} when it is stopped")


def coded(text):
    return base64.b64encode(text.encode()).decode()


def built(args, folder):
    """quoin.deb of the program under test and of those that stand beside it."""
    programs = pathlib.Path(args.etcd).resolve().parent
    done = subprocess.run([str(ROOT / "tools/make_deb.sh"), str(programs), str(folder / "deb")], stdout=subprocess.PIPE,
                          stderr=subprocess.STDOUT, text=True, check=False)
    expect(done.returncode == 0, f"make_deb.sh: {done.stdout}")
    return folder / "deb" / "quoin.deb", [p for p in ("etcd", "etcdctl", "etcdutl", "etcd-benchmark") if (programs / p).exists()]


def status(copy, package):
    return copy.run("sh", "-c", f"dpkg-query -W -f '${{db:Status-Status}}' {package} 2>/dev/null || true")


def package(args, folder):
    for name in ("etcd-server", "etcd-client"):
        if not pathlib.Path(f"/var/lib/dpkg/info/{name}.list").exists():
            raise Skip(f"Debian's {name} is not installed")
    deb, programs = built(args, folder)
    copy = Copy(folder / "copy")
    try:
        copy.run("tee", "/etc/default/etcd", input='ETCD_NAME="kept"\nETCD_UNSUPPORTED_ARCH=amd64\n')
        copy.run("install", "-d", "-m", "0700", "-o", "etcd", "-g", "etcd", "/var/lib/etcd")
        before = Service(copy, "/lib/systemd/system/etcd.service", folder / "before.log")
        before.put("greeting", "hello")
        before.stop()
        owner = copy.run("stat", "-c", "%U:%G %a", "/var/lib/etcd/default")

        # dpkg takes the package from a pipe's file: the copy does not see this test's folder where that is a mount.
        with open(deb, "rb") as f:
            subprocess.run(copy.command(["tee", "/tmp/quoin.deb"]), stdin=f, stdout=subprocess.DEVNULL, check=True)
        said = copy.run("dpkg", "--install", "/tmp/quoin.deb")
        expect(status(copy, "quoin") == "installed", f"after the installation: {said}")
        for name in ("etcd-server", "etcd-client"):
            expect(status(copy, name) != "installed", f"{name} is still {status(copy, name)}")
        expect("Do not purge etcd-server" in said, f"no word on what a purge of etcd-server would do: {said}")
        expect('ETCD_NAME="kept"' in copy.run("cat", "/etc/default/etcd"), "the configuration was replaced")
        expect(re.search(r"^Quoin", copy.run("etcd", "--version"), re.M), f"etcd --version: {copy.run('etcd', '--version')}")
        for name in programs:
            expect(status(copy, "quoin") and copy.run("dpkg", "-S", f"/usr/bin/{name}").startswith("quoin:"), name)
            expect(copy.run("sh", "-c", f"zcat /usr/share/man/man1/{name}.1.gz").startswith(f".TH {name.upper()}"), name)
        expect(not copy.run("dpkg", "--verify", "quoin"), "files differ from their sums")

        after = Service(copy, "/lib/systemd/system/etcd.service", folder / "after.log")
        expect(after.value("greeting") == "hello", f"the data is gone: {after.value('greeting')}")
        after.put("greeting", "hello again")
        after.stop()
        expect(copy.run("stat", "-c", "%U:%G %a", "/var/lib/etcd/default") == owner, "the directory has another owner")
        again = Service(copy, "/lib/systemd/system/etcd.service", folder / "again.log")
        expect(again.value("greeting") == "hello again", "a write is gone")
        again.stop()

        # An installation over itself, a removal and a purge leave the data alone.
        copy.run("dpkg", "--install", "/tmp/quoin.deb")
        copy.run("dpkg", "--remove", "quoin")
        said = copy.run("dpkg", "--purge", "quoin")
        copy.run("test", "-d", "/var/lib/etcd/default/member")
        copy.run("test", "!", "-e", "/usr/bin/etcd")
        # Without Debian's there was no user, no directory and no configuration.
        copy.run("dpkg", "--purge", "etcd-server", "etcd-client")
        copy.run("test", "!", "-e", "/var/lib/etcd")
        copy.run("dpkg", "--install", "/tmp/quoin.deb")
        expect(copy.run("stat", "-c", "%U:%G %a", "/var/lib/etcd").split() == ["etcd:etcd", "700"], "the new directory's owner")
        new = Service(copy, "/lib/systemd/system/etcd.service", folder / "new.log")
        new.put("a", "b")
        new.stop()
        print(f"package: {deb.stat().st_size >> 10} KiB with {', '.join(programs)}; replaces Debian's and keeps its data")
    finally:
        copy.end()


def unit(_args, folder):
    analyze = shutil.which("systemd-analyze")
    if not analyze:
        raise Skip("systemd-analyze is not here")
    # It wants the program to be there.
    text = (ROOT / "deploy/etcd.service").read_text(encoding="utf-8").replace("/usr/bin/etcd ", "/bin/true ")
    own = folder / "quoin-etcd.service"
    own.write_text(text.replace("Alias=etcd2.service\n", ""), encoding="utf-8")
    done = subprocess.run([analyze, "verify", "--man=no", str(own)], stdout=subprocess.PIPE, stderr=subprocess.STDOUT,
                          text=True, check=False)
    faults = [line for line in done.stdout.splitlines() if "quoin-etcd" in line]
    expect(not faults, f"systemd-analyze verify: {faults}")
    print("unit: systemd finds no fault")


def image(args, folder):
    programs = [p for p in pathlib.Path(args.etcd).resolve().parent.iterdir()
                if p.name in ("etcd", "etcdctl", "etcdutl", "etcd-benchmark")]
    copy = Copy(folder / "image")
    try:
        copy.run("mkdir", "/tmp/in", "/tmp/image")
        for path in (*programs, ROOT / "deploy/image_root.sh"):
            with open(path, "rb") as f:
                subprocess.run(copy.command(["sh", "-c", f"cat >/tmp/in/{path.name}; chmod +x /tmp/in/{path.name}"]), stdin=f, check=True)
        copy.run("/tmp/in/image_root.sh", "/tmp/image", *(f"/tmp/in/{p.name}" for p in programs))
        root = copy.root / "tmp/image"
        size = copy.run("du", "-sm", "/tmp/image").split()[0]
        process = subprocess.Popen([*copy.enter, "env", "-i", "ETCD_DATA_DIR=/var/lib/etcd", "/usr/sbin/chroot",
                                    "--userspec=65532:65532", str(root), "/usr/bin/etcd"], stdout=subprocess.DEVNULL,
                                   stderr=open(folder / "image.log", "w", encoding="utf-8"))
        limit = time.monotonic() + WAIT_SECONDS
        ask = ("import urllib.request as u\ntry: print(u.urlopen('http://127.0.0.1:2379/health', timeout=5).read().decode())\n"
               "except OSError as e: print(e)")
        while '"health":"true"' not in copy.run("python3", "-c", ask):
            expect(process.poll() is None and time.monotonic() < limit,
                   f"it does not serve: {(folder / 'image.log').read_text(encoding='utf-8')[-2000:]}")
            time.sleep(0.1)
        end(process)
        print(f"image: {size} MB, serves as user 65532 with nothing else in it")
    finally:
        copy.end()


def main(_tools, args, folder):
    if os.geteuid() != 0:
        raise Skip("only root may make an overlay")
    for name in ("unshare", "nsenter", "setpriv", "ip", "dpkg-deb", "dpkg-shlibdeps"):
        if not shutil.which(name):
            raise Skip(f"{name} is not here")
    for part in args.part or ["package", "unit", "image"]:
        {"package": package, "unit": unit, "image": image}[part](args, folder)


if __name__ == "__main__":
    drive(main, __doc__, lambda p: p.add_argument("--part", action="append", choices=["package", "unit", "image"]))
