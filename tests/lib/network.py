"""How the members of a test cluster reach each other, and how that is broken: directed links that are cut, healed and
delayed. Two ways with the same functions:

Namespaces  each member has a network namespace, joined to the others by a bridge; a cut link loses packets. Needs a
            kernel that lets a user make namespaces (`unshare -rn`), and nothing else. No delays.
Proxies     each member advertises the address of a proxy (tests/go/interop/links.go); a cut link holds bytes back.
            Works everywhere, and can delay.

Plain has no faults."""

import os
import shutil
import subprocess
import sys
import time

from members import Conversation, Failure, Skip, die_with_parent, free_port, run


class Plain:
    """Members on the loopback, directly."""

    name = "plain"
    can_cut = False
    can_delay = False

    def __init__(self, tools):
        self.tools = tools

    def place(self, node):
        """Gives a new member its addresses."""
        node.host = "127.0.0.1"
        node.peer_url = node.peer_listen = f"http://127.0.0.1:{node.peer_port}"

    def wrap(self, node, command):
        return command

    def started(self, node):
        pass

    def close(self):
        pass


class Faulty(Plain):
    """What both ways share: names for groups of links."""

    can_cut = True

    def __init__(self, tools):
        super().__init__(tools)
        self.broken = set()

    def cut(self, a, b):
        """Nothing that a sends reaches b."""
        if (a, b) not in self.broken:
            self.broken.add((a, b))
            self._cut(a, b)

    def heal(self, a, b):
        if (a, b) in self.broken:
            self.broken.remove((a, b))
            self._heal(a, b)

    def cut_both(self, a, b):
        self.cut(a, b)
        self.cut(b, a)

    def heal_all(self):
        for a, b in list(self.broken):
            self.heal(a, b)

    def isolate(self, node, others):
        for other in others:
            if other is not node:
                self.cut_both(node, other)


class Proxies(Faulty):
    name = "proxies"
    can_delay = True

    def __init__(self, tools):
        super().__init__(tools)
        self.links = Conversation([tools.interop, "links"])

    def place(self, node):
        node.host = "127.0.0.1"
        node.peer_listen = f"http://127.0.0.1:{node.peer_port}"
        outside = f"127.0.0.1:{free_port()}"
        node.peer_url = f"http://{outside}"
        self.links.ask(f"listen {node.name} {outside} 127.0.0.1:{node.peer_port}")

    def started(self, node):
        self.links.ask(f"process {node.name} {node.pid}")

    def _cut(self, a, b):
        self.links.ask(f"cut {a.name} {b.name}")

    def _heal(self, a, b):
        self.links.ask(f"heal {a.name} {b.name}")

    def delay(self, a, b, ms):
        self.links.ask(f"delay {a.name} {b.name} {ms}")

    def reset(self, a, b):
        """Closes the connections between two members."""
        self.links.ask(f"reset {a.name} {b.name}")

    def close(self):
        self.links.close()


_IN_NAMESPACE = "QUOIN_TEST_USER"


def namespaces_work():
    if not all(shutil.which(p) for p in ("unshare", "nsenter", "ip")):
        return False
    if os.environ.get(_IN_NAMESPACE):
        return True
    # A bridge is what a container most often refuses.
    try:
        return run(["unshare", "-rn", "ip", "link", "add", "br0", "type", "bridge"], check=False, timeout=20).returncode == 0
    except (Failure, OSError):
        return False


class Namespaces(Faulty):
    name = "namespaces"

    def __init__(self, tools):
        super().__init__(tools)
        self.count = 0
        self.holders = []
        _ip("link", "set", "lo", "up")
        _ip("link", "add", "br0", "type", "bridge")
        _ip("link", "set", "br0", "up")
        _ip("addr", "add", "10.77.0.254/24", "dev", "br0")

    def place(self, node):
        self.count += 1
        # A process that does nothing keeps the namespace between two starts of the member.
        holder = subprocess.Popen(["unshare", "-n", "sleep", "1000000"], preexec_fn=die_with_parent)
        self.holders.append(holder)
        node.holder = holder.pid
        outer = os.readlink("/proc/self/ns/net")
        deadline = time.monotonic() + 20
        while os.readlink(f"/proc/{holder.pid}/ns/net") == outer:
            if time.monotonic() > deadline:
                raise Failure("no network namespace after 20 s")
            time.sleep(0.005)
        node.host = f"10.77.0.{self.count}"
        node.peer_url = node.peer_listen = f"http://{node.host}:{node.peer_port}"
        veth = f"v{self.count}"
        _ip("link", "add", veth, "type", "veth", "peer", "name", "eth0", "netns", holder.pid)
        _ip("link", "set", veth, "master", "br0", "up")
        self._inside(node, "link", "set", "lo", "up")
        self._inside(node, "addr", "add", f"{node.host}/24", "dev", "eth0")
        self._inside(node, "link", "set", "eth0", "up")

    def wrap(self, node, command):
        return ["nsenter", "-t", str(node.holder), "-n", "--", *command]

    def _inside(self, node, *args, check=True):
        run(["nsenter", "-t", node.holder, "-n", "--", "ip", *args], check=check)

    # What a sends to b goes to a hardware address that nobody has.
    def _cut(self, a, b):
        self._inside(a, "neigh", "replace", b.host, "lladdr", "02:00:00:00:00:99", "dev", "eth0", "nud", "permanent")

    def _heal(self, a, b):
        self._inside(a, "neigh", "del", b.host, "dev", "eth0")

    def reset(self, a, b):
        pass

    def close(self):
        for holder in self.holders:
            holder.kill()
            holder.wait()


def _ip(*args):
    run(["ip", *args])


def add_argument(parser, default="auto"):
    parser.add_argument("--network", choices=["plain", "proxies", "namespaces", "auto"], default=default,
                        help="how members reach each other; auto: namespaces where a user may make them, else proxies")


def prepare(asked="auto"):
    """Called first by a driver that may use namespaces: starts it again inside one of its own, if that is asked for.
    `asked` is the driver's default."""
    argv = sys.argv
    for i, a in enumerate(argv):
        if a == "--network" and i + 1 < len(argv):
            asked = argv[i + 1]
        elif a.startswith("--network="):
            asked = a.partition("=")[2]
    if asked not in ("auto", "namespaces") or os.environ.get(_IN_NAMESPACE) or not namespaces_work():
        return
    os.environ[_IN_NAMESPACE] = str(os.getuid())
    os.execvp("unshare", ["unshare", "-rn", "--", sys.executable, *argv])


def make(kind, tools):
    inside = bool(os.environ.get(_IN_NAMESPACE))
    if kind == "namespaces" and not inside:
        raise Skip("this user may not make network namespaces here (unshare -rn)")
    if inside and kind != "namespaces" and kind != "auto":
        _ip("link", "set", "lo", "up")
    if kind == "auto":
        kind = "namespaces" if inside else "proxies"
        if not inside:
            print("no network namespaces for this user: links are cut by proxies")
    return {"plain": Plain, "proxies": Proxies, "namespaces": Namespaces}[kind](tools)
