#!/usr/bin/env python3
"""Certificates of a cluster of several versions are replaced one at a time under load, over TLS for clients and between members:

    control   each member's links are made anew, with the files as they are
    pairs     each member in turn gets new pairs of the same CA, for clients and for members, and its links are made anew
    broken    a member's new certificate lies there without its key: its new handshakes fail, nobody else's do, and what stands
              goes on; then the key comes
    bundle    the members and their clients trust the old CA and a new one
    new CA    each member in turn gets pairs of the new CA, then the clients do
    old out   the old CA is trusted no more

Throughout, no request of a client that retries fails, and no member goes without a linearizable read for longer than an
election timeout (or twice what the control took; and a step that disturbs is done again, up to twice, since others may use the
machine). A real member reads its trusted certificates once, so it is restarted where they change; the one under test
is not. At the end all that clients saw is checked, the members hold the same, and no certificate of the old CA is let in."""

import os
import pathlib
import socket
import ssl
import sys
import threading
import time

sys.path.insert(0, str(pathlib.Path(__file__).resolve().parent.parent / "lib"))
import network as networks  # noqa: E402
from authority import Authority  # noqa: E402
from cluster import Cluster, Ctl, Load, Node, kinds_of, seed_of, wait_until  # noqa: E402
from members import Failure, drive, expect, run  # noqa: E402

HOST = "127.0.0.1"
SHORT = [["quoin", "3.5", "3.6"]]
LONG = [*SHORT, ["quoin", "3.6", "3.7"], ["quoin", "quoin", "3.6"], ["quoin", "quoin", "quoin"]]
# What a real member says of handshakes that are meant to fail here.
ALLOWED = "rejected connection|tls:|x509|remote error|handshake|EOF|connection reset"


class SecureNode(Node):
    """A member whose files are in a folder of its own."""

    def __init__(self, cluster, name, kind):
        super().__init__(cluster, name, kind)
        self.pki = self.folder / "pki"
        self.pki.mkdir()
        self.flags = ["--client-cert-auth", "--peer-client-cert-auth"]
        for side, prefix in (("client", ""), ("peer", "peer-")):
            self.flags += [f"--{prefix}cert-file", str(self.pki / f"{side}.crt"), f"--{prefix}key-file", str(self.pki / f"{side}.key"),
                           f"--{prefix}trusted-ca-file", str(self.pki / "ca.crt")]

    @property
    def url(self):
        return f"https://{self.endpoint}"

    def ports(self):
        """Of its listeners, by the pair they show."""
        return {"client": self.client_port, "peer": self.peer_port}


class SecureProxies(networks.Proxies):
    def place(self, node):
        super().place(node)
        node.peer_url, node.peer_listen = (u.replace("http:", "https:") for u in (node.peer_url, node.peer_listen))


class SecureCluster(Cluster):
    def _node(self, kind):
        self.count += 1
        node = SecureNode(self, f"m{self.count}", kind)
        self.nodes.append(node)
        return node


class Pulse(threading.Thread):
    """Reads at one member again and again, and remembers the longest time without an answer."""

    def __init__(self, tools, node):
        super().__init__(daemon=True)
        self.ctl, self.node = Ctl(tools), node
        self.lock = threading.Lock()
        self.last, self.longest, self.over = time.monotonic(), 0, False
        self.start()

    def run(self):
        while not self.over:
            ok = self.ctl.call("get", self.node, 1, key="pulse")["code"] == "OK"
            with self.lock:
                now = time.monotonic()
                self.longest = max(self.longest, now - self.last)
                if ok:
                    self.last = now
            time.sleep(0.02)
        self.ctl.close()

    def begin(self):
        with self.lock:
            self.last, self.longest = time.monotonic(), 0

    def gap(self):
        with self.lock:
            return max(self.longest, time.monotonic() - self.last)


def place(source, target):
    """As kubelet and cert-manager do: a new file in the place of the old one."""
    new = target.with_suffix(".new")
    new.write_bytes(pathlib.Path(source).read_bytes())
    new.rename(target)


def serial_of(cert):
    return run(["openssl", "x509", "-in", cert, "-noout", "-serial"]).stdout.strip().split("=")[1]


def is_serial(seen):
    return all(c in "0123456789ABCDEF" for c in seen)


class Rotation:
    def __init__(self, tools, args, folder, kinds):
        self.tools = tools
        self.authority = Authority(folder / "authority")
        self.authority.ca("ca2")
        self.both = folder / "both.pem"
        self.both.write_text("".join(pathlib.Path(self.authority.path(f"{n}.pem")).read_text() for n in ("ca", "ca2")))
        self.made = 0
        self.mine = folder / "clients"
        self.mine.mkdir()
        self.old_pair = self.pair("client", "ca")
        self.my_pair = self.old_pair
        self.give_clients(self.authority.path("ca.pem"), self.old_pair)
        os.environ.update({f"QUOIN_TEST_{name}": str(self.mine / file)
                           for name, file in (("CA", "ca.crt"), ("CERT", "client.crt"), ("KEY", "client.key"))})
        self.network = SecureProxies(tools)
        self.cluster = SecureCluster(tools, folder, kinds, self.network, heartbeat=100, election=args.election_ms)
        for node in self.cluster.nodes:
            place(self.authority.path("ca.pem"), node.pki / "ca.crt")
            self.give(node, "ca")
        self.cluster.found()
        self.load = Load(self.cluster, seed=seed_of(args), clients=4, think="10ms").run()
        self.pulses = {n: Pulse(tools, n) for n in self.cluster.nodes}
        self.limit = args.election_ms / 1000

    # ---- files ----

    def pair(self, name, ca):
        self.made += 1
        return self.authority.pair(f"{name}-{self.made}", name, "IP:127.0.0.1", ca=ca)

    def give(self, node, ca):
        """New pairs of a member."""
        node.serials = {}
        for side in ("client", "peer"):
            cert, key = self.pair(f"{node.name}-{side}", ca)
            node.serials[side] = serial_of(cert)
            place(cert, node.pki / f"{side}.crt")
            place(key, node.pki / f"{side}.key")

    def give_clients(self, ca, pair):
        self.my_pair = pair
        place(ca, self.mine / "ca.crt")
        place(pair[0], self.mine / "client.crt")
        place(pair[1], self.mine / "client.key")

    def trust(self, ca):
        """All members trust what stands in a file. A real one sees it when it starts."""
        for node in self.cluster.nodes:
            place(ca, node.pki / "ca.crt")
        for node in self.cluster.nodes:
            if node.kind != "quoin":
                # A stop would wait for the end of all watches, for as long as a request may take.
                if self.cluster.wait_leader() is node:
                    self.cluster.lead(next(n for n in self.cluster.nodes if n is not node), 120)

                def anew():
                    node.kill()  # pylint: disable=cell-var-from-loop
                    node.start(wait=True)  # pylint: disable=cell-var-from-loop
                self.undisturbed(f"{node} starts anew to trust {pathlib.Path(ca).name}", anew, but=node)

    # ---- what is seen ----

    def shown(self, port, pair=None):
        """The serial number of the certificate that a listener shows to a client whom it answers, or why there is none."""
        context = ssl.create_default_context(cafile=self.both)
        context.load_cert_chain(*(pair or self.my_pair))
        try:
            with socket.create_connection((HOST, port), 5) as raw, context.wrap_socket(raw, server_hostname=HOST) as s:
                s.sendall(b"GET /version HTTP/1.1\r\nHost: x\r\n\r\n")
                if not s.recv(1):
                    return "closed"
                return s.getpeercert()["serialNumber"]
        except OSError as e:  # ssl.SSLError is one
            return type(e).__name__

    def await_all(self, node, holds, what):
        """Until it holds for both listeners of a member."""
        for side, port in node.ports().items():
            wait_until(lambda: holds(port) or self.shown(port), f"the {side} port of {node} {what}", 15, every=0.1)  # pylint: disable=cell-var-from-loop

    def await_shown(self, node, what):
        """Until both listeners show the member's pairs."""
        side_of = {port: side for side, port in node.ports().items()}
        self.await_all(node, lambda port: self.shown(port) == node.serials[side_of[port]], f"shows its pair: {what}")

    def undisturbed(self, what, do, but=None, judged=True):
        """Does it; no member may go without an answer for too long, but for one that is restarted. Returns the longest time."""
        for _ in range(3):
            self.load.mark()
            for pulse in self.pulses.values():
                pulse.begin()
            began = time.monotonic()
            do()
            # New connections between members are at work before it is over.
            self.cluster.wait_in_sync()
            outage, _ = self.load.outage(30)
            gaps = {str(n): p.gap() for n, p in self.pulses.items() if n is not but}
            print(f"{what}: {time.monotonic() - began:.1f} s, longest without a write {outage * 1000:.0f} ms, without a read at "
                  + ", ".join(f"{n} {g * 1000:.0f}" for n, g in gaps.items()), flush=True)
            worst = max(outage, *gaps.values())
            if not judged or worst <= self.limit:
                return worst
        raise Failure(f"{what}: disturbed for longer than {self.limit:.1f} s, three times")

    def relink(self, node):
        """All connections between the member and the others are made anew, with handshakes."""
        for other in self.cluster.nodes:
            if other is not node:
                self.network.reset(node, other)
                self.network.reset(other, node)

    # ---- the steps ----

    def control(self):
        worst = max(self.undisturbed(f"control: the links of {node}", lambda: self.relink(node), judged=False)  # pylint: disable=cell-var-from-loop
                    for node in self.cluster.nodes)
        self.limit = max(self.limit, 2 * worst)

    def pairs(self, ca):
        for node in self.cluster.nodes:
            def change():
                self.give(node, ca)  # pylint: disable=cell-var-from-loop
                self.await_shown(node, "new pairs")  # pylint: disable=cell-var-from-loop
                self.relink(node)  # pylint: disable=cell-var-from-loop
            self.undisturbed(f"new pairs of {ca} for {node}", change)

    def broken(self, node, ca):
        def change():
            later = {}
            for side in ("client", "peer"):
                later[side] = cert, _ = self.pair(f"{node.name}-{side}", ca)
                place(cert, node.pki / f"{side}.crt")
            node.serials = {side: serial_of(cert) for side, (cert, _) in later.items()}
            self.await_all(node, lambda port: not is_serial(self.shown(port)), "refuses")
            for other in self.cluster.nodes:
                if other is not node:
                    self.await_shown(other, f"while {node} is broken")
            for side in ("client", "peer"):
                place(later[side][1], node.pki / f"{side}.key")
            self.await_shown(node, "mended")
            self.relink(node)
        self.undisturbed(f"a broken pair of {node}", change)

    def bundle(self):
        self.trust(self.both)
        newer = self.pair("early", "ca2")

        def change():
            self.give_clients(self.both, self.my_pair)
            for node in self.cluster.nodes:
                self.await_all(node, lambda port: is_serial(self.shown(port, newer)), "lets the new CA in")
        self.undisturbed("clients trust both", change)

    def old_out(self):
        def clients():
            self.give_clients(self.both, self.pair("client", "ca2"))
            for node in self.cluster.nodes:
                self.await_shown(node, "a client of the new CA")

        def out():
            self.give_clients(self.authority.path("ca2.pem"), self.my_pair)
            for node in self.cluster.nodes:
                self.await_all(node, lambda port: not is_serial(self.shown(port, self.old_pair)), "refuses the old CA")
                self.await_shown(node, "the new CA alone")
                self.relink(node)
        self.undisturbed("clients of the new CA", clients)
        self.trust(self.authority.path("ca2.pem"))
        self.undisturbed("the old CA is out", out)

    def run(self):
        self.control()
        self.pairs("ca")
        for node in self.cluster.nodes:
            self.broken(node, "ca")
        self.bundle()
        self.pairs("ca2")
        self.old_out()
        lost = self.load.stats()
        expect(lost["lost"] == 0, f"requests that failed: {lost}")
        for pulse in self.pulses.values():
            pulse.over = True
            pulse.join(10)
        checked, _ = self.cluster.check_end(self.load, allow=ALLOWED)
        self.load.close()
        self.cluster.stop()
        self.cluster.close()
        return lost, checked


def main(tools, args, folder):
    for i, kinds in enumerate([kinds_of(args)] if args.members else LONG if args.long else SHORT):
        print(f"--- {', '.join(kinds)}", flush=True)
        lost, checked = Rotation(tools, args, folder / str(i), kinds).run()
        print(f"{', '.join(kinds)}: {lost['requests']} requests, {lost['failed'] + lost['unknown']} tries of them failed; {checked}", flush=True)


def arguments(parser):
    parser.add_argument("--members", help="the kinds of the members of one cluster")
    parser.add_argument("--election-ms", type=int, default=2500, help="the members' election timeout, which is what they may be away "
                        "for; 1000 is etcd's own, and wants a machine of its own")
    parser.add_argument("--seed", type=int, default=0, help="0: any")


if __name__ == "__main__":
    drive(main, __doc__, arguments, needs=("oracle-3.6", "etcd-3.5", "etcd-3.7", "interop"))
