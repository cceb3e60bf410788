#!/usr/bin/env python3
"""Clients that others wrote log in by a password: the etcdctl of 3.6 in clear text and Debian's over TLS, whose output at the
program under test must be that at a real etcd 3.6; and over TLS the Go client, through expired tokens and a restart,
python3-etcd3 (which sends no tokens in clear text), and Node's etcd3. A client that is not here is named and left out."""

import pathlib
import re
import shutil
import subprocess
import sys

sys.path.insert(0, str(pathlib.Path(__file__).resolve().parent.parent / "lib"))
sys.path.insert(0, str(pathlib.Path(__file__).resolve().parent.parent / "interop"))
import node_client  # noqa: E402
from members import Skip, drive, expect, run, stream  # noqa: E402
from tls import HOST, Authority, Node  # noqa: E402

PYTHON = "/usr/bin/python3"
ROOT, ANN = "root:pw-root", "ann:pw-ann"
# What changes from run to run: addresses, times, leases, and fields of the client's own log.
NOISE = re.compile(r'"(ts|caller|target|attempt|logger)":("[^"]*"|\d+),?|endpoint://\S+|127\.0\.0\.1:\d+|\b[0-9a-f]{15,16}\b|took \S+')


def commands(version):
    """(who, arguments, standard input): an operator makes users and roles, turns auth on, and all do their work."""
    yield None, ["user", "add", ROOT], None
    yield None, ["user", "add", "ann", "--new-user-password", "pw-ann"], None
    yield None, ["user", "add", "bob", "--interactive=false"], "pw-bob\n"
    yield None, ["user", "add", "certificate", "--no-password"], None
    yield None, ["user", "add", ANN], None
    for role in ("root", "team", "empty"):
        yield None, ["role", "add", role], None
    yield None, ["role", "add", "team"], None
    yield None, ["role", "grant-permission", "team", "readwrite", "team/", "--prefix=true"], None
    yield None, ["role", "grant-permission", "team", "read", "one"], None
    yield None, ["role", "grant-permission", "team", "write", "a", "c"], None
    yield None, ["role", "grant-permission", "team", "write", "zz", "--from-key=true"], None
    yield None, ["role", "grant-permission", "none", "write", "a"], None
    yield None, ["role", "grant-permission", "team", "write", "c", "a"], None
    yield None, ["role", "revoke-permission", "team", "a", "c"], None
    yield None, ["role", "revoke-permission", "team", "a", "c"], None
    yield None, ["role", "get", "team"], None
    yield None, ["role", "get", "none"], None
    yield None, ["user", "grant-role", "root", "root"], None
    yield None, ["user", "grant-role", "ann", "team"], None
    yield None, ["user", "grant-role", "ann", "none"], None
    yield None, ["user", "get", "ann"], None
    yield None, ["user", "get", "ann", "--detail"], None
    yield None, ["user", "list"], None
    yield None, ["role", "list"], None
    yield None, ["put", "one", "1"], None
    yield ROOT, ["get", "one"], None
    yield None, ["auth", "enable"], None
    yield None, ["put", "one", "1"], None
    yield None, ["get", "one"], None
    yield ROOT, ["put", "one", "2"], None
    yield ANN, ["get", "one"], None
    yield ANN, ["put", "one", "3"], None
    yield ANN, ["put", "team/a", "3", "--prev-kv"], None
    yield ANN, ["put", "zzz", "3"], None
    yield ANN, ["put", "zzz", "3", "--prev-kv"], None
    yield ANN, ["get", "zzz"], None
    yield ANN, ["get", "team/", "--prefix"], None
    yield ANN, ["get", "team/", "--from-key"], None
    yield ANN, ["del", "team/", "--prefix"], None
    yield ANN, ["txn"], 'value("team/a") = "3"\n\nput team/a 4\n\nput other 5\n\n'
    yield ANN, ["txn"], 'value("one") = "2"\n\nput team/a 4\n\nput team/b 5\n\n'
    yield ANN, ["user", "list"], None
    yield ANN, ["user", "get", "ann"], None
    yield ANN, ["user", "get", "bob"], None
    yield ANN, ["role", "get", "team"], None
    yield ANN, ["role", "get", "root"], None
    yield ANN, ["compact", "2"], None
    yield ANN, ["lease", "grant", "0"], None
    yield ANN, ["lease", "list"], None
    yield ANN, ["alarm", "list"], None
    yield ANN, ["defrag"], None
    yield "bob:pw-bob", ["get", "one"], None
    yield "ann:wrong", ["get", "one"], None
    yield "nobody:x", ["get", "one"], None
    yield "certificate:x", ["get", "one"], None
    yield ROOT, ["user", "passwd", "bob", "--interactive=false"], "pw-next\n"
    yield "bob:pw-bob", ["get", "one"], None
    yield "bob:pw-next", ["get", "one"], None
    yield ROOT, ["role", "get", "root"], None
    yield ROOT, ["user", "delete", "root"], None
    yield ROOT, ["role", "delete", "root"], None
    yield ROOT, ["user", "revoke-role", "root", "root"], None
    yield ROOT, ["user", "revoke-role", "ann", "empty"], None
    yield ROOT, ["role", "delete", "empty"], None
    yield ROOT, ["user", "delete", "bob"], None
    yield "bob:pw-next", ["get", "one"], None
    yield ROOT, ["alarm", "list"], None
    yield ANN, ["auth", "disable"], None
    if not version.startswith("3.4"):
        yield None, ["auth", "status"], None
        yield ANN, ["auth", "status"], None
        yield ROOT, ["auth", "status"], None
    yield None, ["auth", "disable"], None
    yield ROOT, ["auth", "disable"], None
    for user in ("root", "ann", "certificate"):
        yield None, ["user", "delete", user], None
    for role in ("team", "root"):
        yield None, ["role", "delete", role], None


def etcdctl(program, version, nodes, authority, secure):
    said = {}
    environment = {"ETCDCTL_API": "3"} if version.startswith("3.4") else {}
    for kind, node in nodes.items():
        url = node.url if secure else f"http://{HOST}:{node.client}"
        out = said[kind] = []
        for who, words, stdin in commands(version):
            line = [*program, "--endpoints", url, "--command-timeout=10s", "--dial-timeout=10s", *(["--user", who] if who else []),
                    *(["--cacert", authority.path("ca.pem")] if secure else []), *words]
            done = run(line, check=False, timeout=60, env=environment, stdin=stdin if stdin else "")
            out.append((f"{who}: {' '.join(words)}", done.returncode, NOISE.sub("", done.stdout), NOISE.sub("", done.stderr)))
    bad = [f"{a[0]}\n  ours {a[1:]}\n  real {b[1:]}" for a, b in zip(said["ours"], said["real"]) if a != b]
    expect(not bad, f"etcdctl {version}:\n" + "\n".join(bad))
    expect(sum(o[1] == 0 for o in said["real"]) > 30, f"etcdctl {version} does not work at the real member: {said['real'][:5]}")
    print(f"etcdctl {version}{' over TLS' if secure else ''}: {len(said['ours'])} commands, output as at a real member", flush=True)


def found(tools, node, authority):
    """The users of the programs: root, and ann with all below team/."""
    for words in (["user", "add", ROOT], ["user", "add", ANN], ["role", "add", "team"], ["role", "add", "root"],
                  ["role", "grant-permission", "team", "readwrite", "team/", "--prefix=true"], ["user", "grant-role", "ann", "team"],
                  ["user", "grant-role", "root", "root"], ["auth", "enable"]):
        run([tools.oracle, "etcdctl", "--endpoints", node.url, "--cacert", authority.path("ca.pem"), *words])


def left_out(what, why):
    print(f"{what} is left out: {why}", flush=True)


def programs(tools, folder, node, authority):
    url, ca = node.url, authority.path("ca.pem")

    def restart(_):
        node.end()
        node.start([node]).wait("ready to serve client requests", times=len(node.lines("ready to serve client requests")) + 1)
        return "done"

    stream([tools.interop, "login", "--endpoint", url, "--ca", ca], timeout=200, answer={"RESTART": restart})
    print("Go", flush=True)
    try:
        probe = subprocess.run([PYTHON, "-c", "import etcd3"], stderr=subprocess.DEVNULL, timeout=60, check=False).returncode
    except FileNotFoundError:
        probe = 1
    if probe:
        left_out("python3-etcd3", f"{PYTHON} has no etcd3 (Debian package python3-etcd3)")
    else:
        stream([PYTHON, pathlib.Path(__file__).resolve().parent / "login_python.py", node.client, ca], timeout=120)
        print("python3-etcd3", flush=True)
    try:
        interpreter = node_client.install(tools.folder / "node_client")
    except Skip as why:
        left_out("Node's etcd3", why)
        return
    place = folder / "node"
    place.mkdir()
    shutil.copy(node_client.SOURCE / "login.js", place / "login.js")
    (place / "node_modules").symlink_to(tools.folder / "node_client" / "node_modules")
    stream([interpreter, place / "login.js", url, ca], timeout=120)
    print("etcd3 of Node", flush=True)


def main(tools, args, folder):
    authority = Authority(folder / "pki")
    cert, key = authority.pair("server", "server", "IP:127.0.0.1,DNS:localhost")
    flags = ["--cert-file", cert, "--key-file", key, "--bcrypt-cost", "4", "--auth-token-ttl", "2", "--peer-auto-tls"]
    nodes = {}
    for kind, program in (("ours", tools.ours), ("real", tools.real)):
        node = nodes[kind] = Node(program, folder / kind, "m1", flags, plain_too=True)
        node.start([node])
    for node in nodes.values():
        node.wait("ready to serve client requests")
    etcdctl([tools.oracle, "etcdctl"], "3.6", nodes, authority, secure=False)
    debian = shutil.which("etcdctl")
    version = run([debian, "version"], env={"ETCDCTL_API": "3"}).stdout.split()[2] if debian else None
    if version:
        etcdctl([debian], version, nodes, authority, secure=True)
    else:
        left_out("Debian's etcdctl", "it is not installed (package etcd-client)")
    nodes["real"].end()
    found(tools, nodes["ours"], authority)
    programs(tools, folder, nodes["ours"], authority)
    nodes["ours"].end()


if __name__ == "__main__":
    drive(main, __doc__, needs=("interop", "oracle-3.6"))
