#!/usr/bin/env python3
"""TLS for clients and between members, beside a real etcd 3.6 with the same certificates and flags.

    alone      the same clients at both: certificates of every kind, HTTP/2 and HTTP/1.1 pages, plain text on a TLS port and
               the reverse, http and https on one port; answers and the lines about rejected connections are compared
    cluster    members of both programs with certificates of their own: founded, each leads once, a restart, no line about
               a connection that was refused
    automatic  the same with --peer-auto-tls, and --auto-tls for clients
    files      certificate and key are replaced while a member runs: new ones, a pair that does not fit, healed"""

import json
import pathlib
import re
import signal
import socket
import ssl
import subprocess
import sys
import time

sys.path.insert(0, str(pathlib.Path(__file__).resolve().parent.parent / "lib"))
from authority import Authority  # noqa: E402
from members import Failure, die_with_parent, drive, expect, free_port, run  # noqa: E402

HOST = "127.0.0.1"


class Node:
    """A member with https URLs."""

    def __init__(self, program, folder, name, flags, plain_too=False):
        self.program, self.folder, self.name, self.flags = program, folder, name, flags
        folder.mkdir(parents=True)
        self.client, self.peer = free_port(), free_port()
        self.url, self.peer_url = f"https://{HOST}:{self.client}", f"https://{HOST}:{self.peer}"
        self.listen = self.url + (f",http://{HOST}:{self.client}" if plain_too else "")
        self.log = folder / "log"
        self.process = None

    def start(self, cluster):
        command = [*map(str, self.program), "--name", self.name, "--data-dir", str(self.folder / "data"),
                   "--listen-client-urls", self.listen, "--advertise-client-urls", self.url,
                   "--listen-peer-urls", self.peer_url, "--initial-advertise-peer-urls", self.peer_url,
                   "--initial-cluster", ",".join(f"{n.name}={n.peer_url}" for n in cluster), *self.flags]
        with open(self.log, "ab") as log:
            self.process = subprocess.Popen(command, stdout=log, stderr=log, stdin=subprocess.DEVNULL,
                                            preexec_fn=die_with_parent)
        return self

    def lines(self, *messages):
        out = []
        for line in self.log.read_text(errors="replace").splitlines():
            if line.startswith("{"):
                entry = json.loads(line)
                if not messages or entry.get("msg") in messages:
                    out.append(entry)
        return out

    def wait(self, message, seconds=40, times=1):
        deadline = time.monotonic() + seconds
        while time.monotonic() < deadline:
            if len(self.lines(message)) >= times:
                return self
            if self.process.poll() is not None:
                break
            time.sleep(0.05)
        raise Failure(f"{self.name}: no '{message}' after {seconds} s\n{self.log.read_text()[-3000:]}")

    def end(self, how=signal.SIGTERM):
        if self.process is not None and self.process.poll() is None:
            self.process.send_signal(how)
            self.process.wait(30)
        return self


def secure(authority, pair, peer_pair=None):
    cert, key = pair
    peer_cert, peer_key = peer_pair or pair
    ca = authority.path("ca.pem")
    return ["--cert-file", cert, "--key-file", key, "--trusted-ca-file", ca, "--client-cert-auth", "--peer-cert-file", peer_cert,
            "--peer-key-file", peer_key, "--peer-trusted-ca-file", ca, "--peer-client-cert-auth"]


class Clients:
    """etcdctl and curl with a certificate."""

    def __init__(self, tools, authority):
        self.tools, self.authority = tools, authority

    def files(self, pair):
        """Both programs call these options alike."""
        return ["--cacert", self.authority.path("ca.pem"), *(["--cert", pair[0], "--key", pair[1]] if pair else [])]

    def ctl(self, url, pair, *args):
        done = run([self.tools.oracle, "etcdctl", "--endpoints", url, "--command-timeout=4s", "--dial-timeout=3s",
                    *(self.files(pair) if url.startswith("https") else []), *args], check=False, timeout=30)
        text = done.stdout + re.sub(r'"(ts|caller|target|attempt)":("[^"]*"|\d+),?', "", done.stderr)
        return done.returncode, re.sub(r"LocalAddr: '[^']*'|127\.0\.0\.1:\d+(->127\.0\.0\.1:\d+)?", "ADDRESS", text)

    def curl(self, url, pair, *args):
        done = run(["curl", "-sS", "-i", "--max-time", "5", *(self.files(pair) if url.startswith("https") else []), *args, url],
                   check=False, timeout=30)
        head, _, body = done.stdout.replace("\r", "").partition("\n\n")
        status, *fields = re.sub(r"(?im)^date: .*$", "date: D", head).split("\n")
        # Go writes fields that it adds itself in another order. The version page names Quoin's version, too.
        if "quoin-version" in body:
            body = re.sub(r',"quoin-version":"[^"]*"', "", body)
        fields = [f for f in fields if not (url.endswith("/version") and f.lower().startswith("content-length"))]
        return done.returncode, (status, sorted(fields), body)


def fingerprint(node, authority, pair):
    """The serial number of the certificate that the member shows, or why there is none."""
    context = ssl.create_default_context(cafile=authority.path("ca.pem"))
    context.load_cert_chain(*pair)
    try:
        with socket.create_connection((HOST, node.client), 5) as raw, context.wrap_socket(raw, server_hostname=HOST) as s:
            return s.getpeercert()["serialNumber"]
    except (ssl.SSLError, OSError) as e:
        return type(e).__name__


def stranger_kinds(authority):
    """Certificates that few clients have."""
    authority.ca("selfish")
    authority.pair("between", "between", "", usage="", extra="basicConstraints=critical,CA:TRUE\n")
    leaf = authority.pair("leaf", "leaf", "DNS:l", ca="between")
    whole = authority.folder / "whole.pem"
    whole.write_text(pathlib.Path(leaf[0]).read_text() + pathlib.Path(authority.path("between.pem")).read_text())
    authority.pair("spent", "spent", "", usage="", days="-1", extra="basicConstraints=critical,CA:TRUE\n")
    late = authority.pair("late", "late", "DNS:l", ca="spent")
    later = authority.folder / "later.pem"
    later.write_text(pathlib.Path(late[0]).read_text() + pathlib.Path(authority.path("spent.pem")).read_text())
    plain = authority.pair("below", "below", "DNS:b", ca="leaf")
    below = authority.folder / "belows.pem"
    below.write_text("".join(pathlib.Path(authority.path(f"{n}.pem")).read_text() for n in ("below", "leaf", "between")))
    return {"signed by itself": (authority.path("selfish.pem"), authority.path("selfish.key")),
            "of the authority itself": (authority.path("ca.pem"), authority.path("ca.key")),
            "with the one between": (str(whole), leaf[1]), "without the one between": leaf,
            "below an expired one": (str(later), late[1]), "signed by who is no authority": (str(below), plain[1]),
            "for signing code": authority.pair("coder", "coder", "DNS:c", usage="codeSigning"),
            "for anything": authority.pair("any", "any", "DNS:a", usage="2.5.29.37.0"),
            "with an unknown critical extension": authority.pair("odd", "odd", "DNS:o", extra="1.2.3.4=critical,ASN1:UTF8String:x\n"),
            "signed by SHA-1": authority.pair("weak", "weak", "DNS:w", options=("-sha1",))}


def alone(tools, folder):
    authority = Authority(folder / "pki")
    server = authority.pair("server", "server", "IP:127.0.0.1,DNS:localhost")
    good = authority.pair("alice", "alice", "DNS:alice")
    authority.ca("other")
    kinds = {"good": good, "none": None, "of another authority": authority.pair("mallory", "mallory", "DNS:m", ca="other"),
             "for servers only": authority.pair("wrong", "wrong", "DNS:w", usage="serverAuth"),
             "without usage": authority.pair("free", "free", "", usage=""), "expired": authority.pair("old", "old", "DNS:o", days="-1"), **stranger_kinds(authority)}
    clients = Clients(tools, authority)
    sides = {}
    for kind, program in (("ours", tools.ours), ("real", tools.real)):
        node = Node(program, folder / kind, "m1", secure(authority, server), plain_too=True)
        node.start([node]).wait("ready to serve client requests")
        said = {}
        said["put"] = clients.ctl(node.url, good, "put", "a", "b")
        plain = f"http://{HOST}:{node.client}"
        said["get over http on the same port"] = clients.ctl(plain, None, "get", "a")
        for name, pair in kinds.items():
            said[f"etcdctl with a certificate: {name}"] = clients.ctl(node.url, pair, "get", "a")[0]
            code, text = clients.curl(node.url + "/health", pair)
            said[f"curl with a certificate: {name}"] = (code == 0, text)
        for path in ("/health", "/version", "/livez?verbose", "/nothing"):
            for version in ("--http1.1", "--http2"):
                said[f"{version} {path}"] = clients.curl(node.url + path, good, version)
        for method in ("POST", "OPTIONS", "HEAD"):
            for version in ("--http1.1", "--http2"):
                args = ["-I"] if method == "HEAD" else ["-X", method]
                said[f"{version} {method}"] = clients.curl(node.url + "/health", good, version, *args)
        said["TLS 1.2"] = clients.curl(node.url + "/health", good, "--tls-max", "1.2")
        said["TLS 1.1"] = clients.curl(node.url + "/health", good, "--tls-max", "1.1")[0] != 0
        said["no ALPN"] = clients.curl(node.url + "/health", good, "--no-alpn")
        said["HTTP/2 in clear text"] = clients.curl(plain + "/health", None, "--http2-prior-knowledge")
        said["http on the peers' port"] = clients.curl(f"http://{HOST}:{node.peer}/version", None)[0] != 0
        said["peers' port"] = clients.curl(node.peer_url + "/version", server, "--http1.1")
        said["peers' port from another address"] = clients.curl(node.peer_url + "/version", good, "--http1.1")[0] != 0
        said["peers' port without a certificate"] = clients.curl(node.peer_url + "/version", None, "--http1.1")[0] != 0
        time.sleep(0.5)
        node.end()
        rejected = [{k: re.sub(r"127\.0\.0\.1:\d+|current time \S+", "A", json.dumps(v)) for k, v in e.items()
                     if k in ("level", "msg", "server-name", "ip-addresses", "dns-names", "error")}
                    for e in node.lines("rejected connection on client endpoint", "rejected connection on peer endpoint")]
        # Who notices first is chance where the client hangs up over the answer.
        said["rejected"] = sorted({json.dumps(r, sort_keys=True) for r in rejected if "EOF" not in r["error"] and "reset" not in r["error"]})
        said["lines"] = [[e[k] for k in ("msg", "traffic") if k in e] for e in node.lines(
            "starting with peer TLS", "starting with client TLS", "serving client traffic securely",
            "serving client traffic insecurely; this is strongly discouraged!")]
        sides[kind] = said
    bad = [f"{name}:\n  ours {sides['ours'][name]}\n  real {sides['real'][name]}" for name in sides["ours"]
           if sides["ours"][name] != sides["real"][name]]
    expect(not bad, "\n".join(bad))
    print(f"alone: {len(sides['ours'])} answers compared, {len(sides['ours']['rejected'])} kinds of rejected connections", flush=True)


def members_of(tools, kinds, folder, flags):
    nodes = [Node(tools.ours if kind == "ours" else tools.real, folder / f"m{i}", f"m{i}", flags(i)) for i, kind in enumerate(kinds)]
    for node in nodes:
        node.start(nodes)
    for node in nodes:
        node.wait("ready to serve client requests")
    return nodes


def work(clients, nodes, pair, what):
    """Each member leads once and serves meanwhile; each is killed and comes back."""
    urls = ",".join(n.url for n in nodes)
    code, text = clients.ctl(urls, pair, "member", "list", "-w", "json")
    expect(code == 0, text)
    ids = {m["name"]: f"{m['ID']:x}" for m in json.loads(text)["members"]}
    expect(len(ids) == len(nodes), f"{what}: members {ids}")
    for n in nodes:
        code, text = clients.ctl(urls, pair, "move-leader", ids[n.name])
        expect(code == 0, f"{what}: {n.name} does not lead: {text}")
        for m in nodes:
            expect(clients.ctl(m.url, pair, "put", f"by-{n.name}", m.name)[0] == 0, f"{what}: {n.name} leads, no put at {m.name}")
            code, text = clients.ctl(m.url, pair, "get", f"by-{n.name}", "--print-value-only")
            expect((code, text) == (0, m.name + "\n"), f"{what}: {text}")
    for n in nodes:
        n.end(signal.SIGKILL)
        others = [m for m in nodes if m is not n]
        deadline = time.monotonic() + 20
        while clients.ctl(others[0].url, pair, "put", "while-away", n.name)[0] != 0:
            expect(time.monotonic() < deadline, f"{what}: no put while {n.name} is down")
        n.start(nodes).wait("ready to serve client requests", times=2)
        code, text = clients.ctl(n.url, pair, "get", "while-away", "--print-value-only")
        expect((code, text) == (0, n.name + "\n"), f"{what}: {n.name} after its restart: {text}")


def cluster(tools, folder):
    authority = Authority(folder / "pki")
    pairs = [authority.pair(f"m{i}", f"m{i}", "IP:127.0.0.1") for i in range(3)]
    client = authority.pair("client", "client", "DNS:client")
    clients = Clients(tools, authority)
    for kinds in (["ours", "real", "ours"], ["real", "ours", "real"]):
        nodes = members_of(tools, kinds, folder / "-".join(kinds), lambda i: secure(authority, pairs[i]))
        work(clients, nodes, client, "/".join(kinds))
        for n in nodes:
            n.end()
        bad = [e for n in nodes for e in n.lines("rejected connection on peer endpoint", "rejected connection on client endpoint")
               if e["level"] != "debug" and not re.search("EOF|reset|broken pipe|closed", e["error"])]
        expect(not bad, f"rejected connections: {bad}")
        print(f"cluster: {', '.join(kinds)} work over mutual TLS", flush=True)
    # A peer whose certificate is of another authority is not let in.
    authority.ca("other")
    nodes = [Node(tools.ours, folder / "stranger" / f"s{i}", f"s{i}", secure(
        authority, pairs[i], authority.pair("stranger", "s", "IP:127.0.0.1", ca="other") if i == 2 else None)) for i in range(3)]
    for n in nodes:
        n.start(nodes)
    nodes[0].wait("ready to serve client requests")
    nodes[0].wait("rejected connection on peer endpoint")
    said = nodes[0].lines("rejected connection on peer endpoint")[0]["error"]
    expect("certificate signed by unknown authority" in said or "bad certificate" in said, said)
    for n in nodes:
        n.end(signal.SIGKILL)
    print("cluster: a stranger is kept out", flush=True)


def automatic(tools, folder):
    kinds = ["ours", "real", "ours"]
    nodes = members_of(tools, kinds, folder / "members", lambda i: ["--auto-tls", "--peer-auto-tls"])
    clients = Clients(tools, None)
    clients.files = lambda pair: ["--insecure-skip-tls-verify"]
    work(clients, nodes, None, "automatic")
    shown = [run(["openssl", "x509", "-in", str(n.folder / "data" / "fixtures" / "client" / "cert.pem"), "-noout", "-issuer", "-ext",
                  "keyUsage,extendedKeyUsage,basicConstraints,subjectAltName"]).stdout for n in nodes]
    expect(shown[0] == shown[1], f"ours {shown[0]}\nreal {shown[1]}")
    for n in nodes:
        n.end()
    print("automatic: two of Quoin and one of etcd with certificates of their own making", flush=True)


def files(tools, folder):
    authority = Authority(folder / "pki")
    client = authority.pair("client", "client", "DNS:client")
    shown = folder / "shown"
    shown.mkdir()
    pairs = [authority.pair(f"p{i}", "server", "IP:127.0.0.1") for i in range(3)]
    serials = [run(["openssl", "x509", "-in", cert, "-noout", "-serial"]).stdout.strip().split("=")[1] for cert, _ in pairs]

    def show(cert, key):
        # As kubelet and cert-manager do: a new file in the place of the old one.
        for source, name in ((cert, "cert.pem"), (key, "key.pem")):
            (shown / "new").write_bytes(pathlib.Path(source).read_bytes())
            (shown / "new").rename(shown / name)

    def sees(expected, what, seconds=15):
        deadline = time.monotonic() + seconds
        seen = None
        while time.monotonic() < deadline:
            seen = fingerprint(node, authority, client)
            if seen in expected:
                return
            time.sleep(0.2)
        raise Failure(f"{what}: {seen}, not {expected}")

    show(*pairs[0])
    node = Node(tools.ours, folder / "m1", "m1", secure(authority, (str(shown / "cert.pem"), str(shown / "key.pem"))))
    node.start([node]).wait("ready to serve client requests")
    clients = Clients(tools, authority)
    watch = subprocess.Popen([*map(str, [tools.oracle, "etcdctl", "--endpoints", node.url, *clients.files(client), "watch", "w"])],
                             text=True, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, preexec_fn=die_with_parent)
    sees([serials[0]], "the first certificate")
    show(*pairs[1])
    sees([serials[1]], "a new certificate")
    show(pairs[2][0], pairs[1][1])
    sees(["SSLError", "SSLEOFError", "ConnectionResetError", "SSLZeroReturnError"], "a key that does not fit")
    show(*pairs[2])
    sees([serials[2]], "healed")
    expect(clients.ctl(node.url, client, "put", "w", "still watched")[0] == 0, "a put at the end")
    expect(watch.stdout.readline() == "PUT\n", "the connection of before goes on")
    watch.kill()
    node.end()
    print("files: three certificates in turn, and a pair that does not fit, while a watch went on", flush=True)


PARTS = {"alone": alone, "cluster": cluster, "automatic": automatic, "files": files}


def main(tools, args, folder):
    for name, part in PARTS.items():
        if not args.part or name in args.part:
            part(tools, folder / name)


def arguments(parser):
    parser.add_argument("--part", action="append", choices=PARTS)


if __name__ == "__main__":
    drive(main, __doc__, arguments, needs=("oracle-3.6",))
