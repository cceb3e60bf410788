#!/usr/bin/env python3
"""`etcd gateway start` beside the real one of etcd 3.6: the same command lines (what each says on both outputs, its exit
code, its log lines), backends by DNS SRV records, what happens to connections at their ends and to those of backends
that die. Then etcdctl through the gateway to a cluster of Quoin and real members of which one is killed, a watch that
lives through it, 200 connections at a time, readers that do not read, and the init daemon's socket."""

import json
import os
import pathlib
import random
import signal
import socket
import subprocess
import sys
import threading
import time

sys.path.insert(0, str(pathlib.Path(__file__).resolve().parent.parent / "lib"))
import nameserver  # noqa: E402
from cluster import Cluster  # noqa: E402
from members import Failure, Member, die_with_parent, drive, expect, free_port, seed_of  # noqa: E402

WAIT = 60
READY = "ready to proxy client requests"


def wait_until(check, what, seconds=WAIT):
    deadline = time.monotonic() + seconds
    while not check():
        if time.monotonic() > deadline:
            raise Failure(f"{what}: not after {seconds} s")
        time.sleep(0.02)


class Gateway:
    """A gateway that runs; what it says."""

    def __init__(self, program, folder, *flags, env=None):
        self.out, self.err = folder / "out", folder / "err"
        with open(self.out, "wb") as out, open(self.err, "wb") as err:
            self.process = subprocess.Popen([*map(str, program), "gateway", *flags], stdout=out, stderr=err,
                                            stdin=subprocess.DEVNULL, preexec_fn=die_with_parent, env=env)

    def text(self):
        return self.err.read_text(errors="replace")

    def count(self, message):
        return self.text().count(f'"msg":"{message}')

    def wait(self, message, times=1):
        """True once the line stands there; false if the gateway ended without it."""
        wait_until(lambda: self.count(message) >= times or self.process.poll() is not None, message)
        return self.count(message) >= times

    def end(self, number=signal.SIGTERM):
        if self.process.poll() is None:
            self.process.send_signal(number)
        try:
            return self.process.wait(20)
        except subprocess.TimeoutExpired:
            self.process.kill()
            raise Failure(f"signal {number} did not end the gateway") from None

    def said(self):
        """Everything, without what differs from run to run."""
        lines = []
        for line in self.text().splitlines(keepends=True):
            if line.startswith("{"):
                entry = json.loads(line)
                expect(entry.pop("ts") and entry.pop("caller"), f"a line without time or place: {line}")
                if "args" in entry:
                    entry["args"] = entry["args"][1:]
                line = json.dumps(entry) + "\n"
            lines.append(line)
        return self.out.read_text(), "".join(lines)


def new_folder(folder):
    new_folder.made += 1
    path = folder / str(new_folder.made)
    path.mkdir()
    return path


new_folder.made = 0


def same(tools, folder, name, *flags):
    """Runs both to their ends, or until they are ready and a signal ends them; all they say is equal."""
    said = []
    for program in (tools.real, tools.ours):
        g = Gateway(program, new_folder(folder), *flags)
        ready = g.wait(READY)
        code = g.end(signal.SIGINT if new_folder.made % 4 < 2 else signal.SIGTERM) if ready else g.process.wait(20)
        said.append((code if not ready else "signal", *g.said()))
        if ready:
            expect(code in (-signal.SIGINT, -signal.SIGTERM), f"{name}: {code} after a signal")
    real, ours = said
    expect(real == ours, f"{name}: {flags}\nreal: {real}\nours: {ours}")


def command_lines(tools, folder):
    port = free_port()
    listen = f"--listen-addr=127.0.0.1:{port}"
    start = ("start", listen)
    good = [
        (*start, "--endpoints=127.0.0.1:1"), (*start, "--endpoints", "http://127.0.0.1:1,https://localhost:2/x,[::1]:3"),
        (*start, "words", "-", "--endpoints=127.0.0.1:http", "--", "--foo"), ("--listen-addr", f"127.0.0.1:{port}", "start"),
        (*start, "--retry-delay=0"), (*start, "--endpoints=127.0.0.1:1", "--endpoints", '"127.0.0.1:2","127.0.0.1:3"'),
        ("start", f"--listen-addr=localhost:{port}", "--insecure-discovery=F"), (*start, "-test.v"),
    ]
    bad = [
        (), ("help",), ("foo",), ("--", "start"), ("-h", "start"), ("start", "-h"), ("--help", "start"), ("start", "--help=1"),
        ("--help=x", "start"), ("start", "-h=", "--foo"), ("--foo",), ("--foo", "start"), ("--foo", "start", "start"),
        ("start", "--foo=1", "-x"), ("start", "-x"), ("start", "-hx"), ("start", "-'"), ('start', '-"'), ("start", "-\\"),
        ("start", "-é"), ("start", "-\x01"), ("start", "-listen-addr=x"), ("start", "--listen-addr"), ("start", "--=x"),
        ("start", "---x"), ("start", "--endpoints=a", "--retry-delay=abc"), ("start", "--retry-delay", "1"),
        ("start", "--retry-delay="), ("start", "--insecure-discovery=maybe"), ("start", "--endpoints=a\"b"),
        ("start", "--endpoints=\"a\nb"), ("start", "--endpoints=\"a\"b"), ("start", "--endpoints=\n"),
        ("start", "--listen-addr=foo"), ("start", "--listen-addr=:1"), ("start", "--listen-addr=127.0.0.1:x"),
        ("start", "--listen-addr=127.0.0.1:70000"), ("start", "--listen-addr=127.0.0.1:-1"),
        ("start", "--listen-addr=10.99.99.99:1"), ("start", "--listen-addr=::1"), (*start, "--endpoints=foo"),
        (*start, "--endpoints=::1:7"), (*start, "--endpoints=http://a:b:c"), (*start, "--endpoints="), (*start, "--endpoints=:9"),
        (*start, f"--endpoints=127.0.0.1:1,127.0.0.1:{port}"), (*start, f"--endpoints=http://localhost:{port}"),
    ]
    for flags in (*bad, *good):
        same(tools, folder, "command line", *flags)
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        taken.listen()
        same(tools, folder, "a port in use", "start", f"--listen-addr=127.0.0.1:{taken.getsockname()[1]}")


def random_lines(tools, folder, rng, lines):
    """Command lines of random pieces, none of which may listen."""
    pieces = ["start", "start", "start", "gateway", "help", "x", "", "-", "--", "-h", "-x", "-hh", "-h=", "-h=f", "-h=1", "--help",
              "--help=0", "--help=x", "--foo", "--foo=1", "--=", "--endpoints", "--endpoints=", "--endpoints=a:1,b", "--retry-delay",
              "--retry-delay=1m", "--retry-delay=1", "--retry-delay=-5x", "--retry-delay=.5h3", "--insecure-discovery",
              "--insecure-discovery=T", "--insecure-discovery=2", "--listen-addr", "--listen-addr=a:b:c", "-test.", "-'"]
    letters = "ab,\"\n\r \\"
    for _ in range(lines):
        words = [rng.choice(pieces) for _ in range(rng.randrange(1, 7))]
        if rng.random() < 0.4:
            words.append("--endpoints=" + "".join(rng.choice(letters) for _ in range(rng.randrange(8))))
        flags = ["--listen-addr=nowhere", *words] if rng.random() < 0.5 else [*words[:1], "--listen-addr=nowhere", *words[1:]]
        same(tools, folder, "random line", *flags)


def by_name(tools, folder):
    if not nameserver.inside():
        print("names: left out, no namespaces here")
        return
    ports = [free_port() for _ in range(4)]
    open_ports = [socket.create_server(("127.0.0.1", p)) for p in ports[:2]]
    nameserver.NameServer(folder, {
        "m1.example": ["127.0.0.1"], "m2.example": ["127.0.0.1"], "bad.example": ["127.0.0.1"],
        "_etcd-client-ssl._tcp.good.example": [(ports[0], "m1.example")],
        "_etcd-client-ssl._tcp.half.example": [(ports[2], "bad.example")],
        "_etcd-client._tcp.half.example": [(ports[1], "m2.example")],
        "_etcd-client-dev._tcp.good.example": [(ports[1], "m2.example")],
        "_etcd-client._tcp.lost.example": [(ports[1], "nowhere.example")],
        "_etcd-client-ssl._tcp.self.example": [(ports[3], "m1.example")],
    })
    start = ("start", f"--listen-addr=m1.example:{ports[3]}", "--endpoints=127.0.0.1:1")
    wrong = folder / "wrong.pem"
    wrong.write_text("-----BEGIN CERTIFICATE-----\nAAAA\n-----END CERTIFICATE-----\n")
    for flags in (("good",), ("half",), ("half", "--insecure-discovery"), ("good", "--discovery-srv-name=dev"),
                  ("good", "--discovery-srv-name=dev", "--insecure-discovery"), ("nothing",),
                  ("lost", "--insecure-discovery"), ("lost",), ("self", "--insecure-discovery"),
                  ("good", f"--trusted-ca-file={folder}/missing"), ("good", f"--trusted-ca-file={wrong}"),
                  ("good", "--trusted-ca-file=/dev/null")):
        same(tools, folder, "names", *start, f"--discovery-srv={flags[0]}.example", *flags[1:])
    same(tools, folder, "names", "start", f"--listen-addr=nohost.example:{ports[3]}")
    same(tools, folder, "names", "start", f"--listen-addr=127.0.0.1:{ports[3]}", "--endpoints=nohost.example:1")
    for s in open_ports:
        s.close()


class Backend(threading.Thread):
    """A server whose connections each run `serve`."""

    def __init__(self, serve, port=None):
        super().__init__(daemon=True)
        self.serve = serve
        self.socket = socket.create_server(("127.0.0.1", port or free_port()), backlog=256)
        self.port = self.socket.getsockname()[1]
        self.taken = 0
        self.start()

    def run(self):
        while True:
            try:
                c, _ = self.socket.accept()
            except OSError:
                return
            self.taken += 1
            threading.Thread(target=self.one, args=(c,), daemon=True).start()

    def one(self, c):
        with c:
            try:
                self.serve(c)
            except OSError:
                pass

    def close(self):
        self.socket.shutdown(socket.SHUT_RDWR)
        self.socket.close()


def read_all(c):
    """All until the end, and how it ended."""
    got = b""
    try:
        while piece := c.recv(65536):
            got += piece
    except OSError as e:
        return got, type(e).__name__
    return got, "end"


def gateway_to(program, folder, endpoints, *flags, env=None):
    port = free_port()
    g = Gateway(program, new_folder(folder), "start", f"--listen-addr=127.0.0.1:{port}",
                f"--endpoints={','.join(endpoints)}", *flags, env=env)
    expect(g.wait(READY), f"the gateway did not start\n{g.text()}")
    g.port = port
    return g


def ends_of_connections(tools, folder):
    """Who ends its direction first, and what both sides see of it."""
    big = b"x" * 3_000_000
    for program in (tools.real, tools.ours):
        seen = []

        def late_answer(c):
            seen.append(read_all(c)[0])  # until the client's end
            time.sleep(0.3)
            c.sendall(b"answer")

        backend = Backend(late_answer)
        g = gateway_to(program, folder, [f"127.0.0.1:{backend.port}"])
        with socket.create_connection(("127.0.0.1", g.port)) as c:
            c.settimeout(WAIT)
            c.sendall(big)
            c.shutdown(socket.SHUT_WR)
            told = read_all(c)
        wait_until(lambda: seen, "the backend sees the client's end")
        expect(seen[0] == big and told == (b"", "end"), f"{program}: a client's end: {len(seen[0])} {told}")
        g.end()
        backend.close()

        backend = Backend(lambda c: (c.sendall(big), c.shutdown(socket.SHUT_WR), seen.append(read_all(c)[1])))
        seen.clear()
        g = gateway_to(program, folder, [f"127.0.0.1:{backend.port}"])
        with socket.create_connection(("127.0.0.1", g.port)) as c:
            c.settimeout(WAIT)
            told = read_all(c)
            wait_until(lambda: seen, "the backend is let go")
        expect(told == (big, "end"), f"{program}: a backend's end: {len(told[0])} {told[1]}")
        g.end()
        backend.close()


def echo(c):
    while piece := c.recv(65536):
        c.sendall(piece)


def ask(port, text=b"x"):
    """What an echo says, or nothing if the connection is ended."""
    with socket.create_connection(("127.0.0.1", port)) as c:
        c.settimeout(WAIT)
        try:
            c.sendall(text)
            return c.recv(100)
        except OSError:
            return b""


def dead_backends(tools, folder):
    """Lines about backends that are dead and come back, in both gateways."""
    told = []
    for program in (tools.real, tools.ours):
        first, port = Backend(echo), free_port()
        g = gateway_to(program, folder, [f"127.0.0.1:{first.port}", f"127.0.0.1:{port}"], "--retry-delay=1s")
        for _ in range(4):
            expect(ask(g.port) == b"x", "a connection with one dead backend")
        expect(g.count("deactivated endpoint") == 1, f"deactivated once\n{g.text()}")
        expect(g.wait("failed to activate endpoint"), "the dead one is dialled again")
        second = Backend(echo, port)
        expect(g.wait("activated"), "it is active again")
        before = first.taken
        for _ in range(10):
            expect(ask(g.port) == b"x", "a connection with both")
        expect(first.taken - before == 5, f"in turn: {first.taken - before} of 10")
        first.close()
        second.close()
        expect(ask(g.port) == b"", "a connection while none is active")
        g.wait("deactivated endpoint", 3)
        text = g.said()[1].replace(str(first.port), "A").replace(str(port), "B").replace(str(g.port), "G")
        lines = [line for line in text.splitlines() if "activate" in line]
        told.append(sorted(set(lines)))
        g.end()
    expect(told[0] == told[1], f"real: {told[0]}\nours: {told[1]}")


def many_connections(tools, folder):
    backends = [Backend(echo) for _ in range(2)]
    g = gateway_to(tools.ours, folder, [f"127.0.0.1:{b.port}" for b in backends])
    clients = []
    for i in range(200):
        clients.append(socket.create_connection(("127.0.0.1", g.port)))
        clients[i].settimeout(WAIT)
        clients[i].sendall(f"{i}.".encode() * 5000)
    for i, c in enumerate(clients):
        want, got = f"{i}.".encode() * 5000, b""
        while len(got) < len(want):
            got += c.recv(65536)
        expect(got == want, f"connection {i} got what is not its own")
    expect([b.taken for b in backends] == [100, 100], f"in turn: {[b.taken for b in backends]}")
    for c in clients:
        c.close()

    def descriptors():
        return len(list(pathlib.Path(f"/proc/{g.process.pid}/fd").iterdir()))

    wait_until(lambda: descriptors() < 40, "the connections are let go")
    g.end()


def few_descriptors(tools, folder):
    """With room for 16 connections, 50 are served in the end, and no backend is taken for dead."""
    backend = Backend(echo)
    port = free_port()
    place = new_folder(folder)
    g = Gateway(["prlimit", "--nofile=200:200", *tools.ours], place, "start", f"--listen-addr=127.0.0.1:{port}",
                f"--endpoints=127.0.0.1:{backend.port}")
    expect(g.wait(READY), g.text())
    clients = [socket.create_connection(("127.0.0.1", port)) for _ in range(50)]
    for i, c in enumerate(clients):
        c.settimeout(WAIT)
        c.sendall(b"x")
        expect(c.recv(1) == b"x", f"connection {i}")
        c.close()
    expect(g.count("deactivated") == 0 and backend.taken == 50, g.text())
    g.end()


def slow_readers(tools, folder):
    """20 clients that read nothing of endless answers: the gateway holds little for them, and serves others."""

    def endless(c):
        c.recv(1)
        while True:
            c.sendall(b"y" * 65536)

    flood, other = Backend(endless), Backend(echo)
    g = gateway_to(tools.ours, folder, [f"127.0.0.1:{flood.port}", f"127.0.0.1:{other.port}"])

    def resident_kib():
        status = pathlib.Path(f"/proc/{g.process.pid}/status").read_text()
        return int(status.split("VmRSS:")[1].split()[0])

    before = resident_kib()
    clients = []
    for _ in range(20):
        c = socket.create_connection(("127.0.0.1", g.port))
        c.sendall(b"x")
        clients.append(c)
        expect(ask(g.port) == b"x", "another client")
    time.sleep(1)
    grown = resident_kib() - before
    print(f"20 readers that do not read: {grown} KiB more")
    expect(grown < 16 << 10, f"{grown} KiB for 20 connections")
    for c in clients:
        c.close()
    g.end()


def init_daemon(tools, folder):
    path = folder / "notify"
    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as s:
        s.bind(str(path))
        s.settimeout(WAIT)
        g = gateway_to(tools.ours, folder, ["127.0.0.1:1"], env={"NOTIFY_SOCKET": str(path)})
        expect(s.recv(100) == b"READY=1", "what the init daemon is told")
        g.end()


def as_init(tools, folder):
    """The first process of a container, which a signal's default action does not end."""
    if subprocess.run(["unshare", "-rpf", "true"], capture_output=True, check=False).returncode != 0:
        print("as_init: left out, no namespaces here")
        return
    codes = []
    for program in (tools.real, tools.ours):
        g = Gateway(["unshare", "-rpf", "--kill-child", "--", *program], new_folder(folder), "start",
                    f"--listen-addr=127.0.0.1:{free_port()}")
        expect(g.wait(READY), g.text())
        children = pathlib.Path(f"/proc/{g.process.pid}/task/{g.process.pid}/children").read_text().split()
        os.kill(int(children[0]), signal.SIGTERM)
        codes.append(g.process.wait(20))
    expect(codes[0] == codes[1], f"exit codes {codes}")


def etcd_behind_it(tools, folder):
    cluster = Cluster(tools, new_folder(folder), ["quoin", "3.6", "quoin"])
    try:
        cluster.found()
        g = gateway_to(tools.ours, folder, [f"http://{n.endpoint}" for n in cluster.nodes], "--retry-delay=1s")
        through = Member.__new__(Member)
        through.client_port = g.port

        def etcdctl(*args):
            return tools.etcdctl(through, *args, check=False, timeout=40)

        watch = subprocess.Popen([tools.oracle, "etcdctl", "--endpoints", through.endpoint, "watch", "--prefix", "k",
                                  "--rev=1"], stdout=subprocess.PIPE, text=True, preexec_fn=die_with_parent)
        seen = []
        threading.Thread(target=lambda: seen.extend(iter(watch.stdout.readline, "")), daemon=True).start()
        done = []
        for i in range(24):
            if i == 8:
                dead = cluster.leader()
                dead.kill()
            if i == 16:
                dead.start()
            wait_until(lambda i=i: etcdctl("put", f"k{i:02}", str(i)).returncode == 0, f"put {i} through the gateway")
            done.append(f"k{i:02}")
        # A put whose answer was lost was sent again: its event may come twice.
        wait_until(lambda: {s.strip() for s in seen if s.startswith("k")} >= set(done), "the watch sees all puts")
        order = [s.strip() for s in seen if s.startswith("k")]
        expect(order == sorted(order), f"the watch saw {order}")
        expect(etcdctl("get", "--prefix", "k", "--keys-only").stdout.split() == done, "all keys are there")
        watch.kill()
        g.end()
        cluster.check_hashes()
    finally:
        cluster.close()


def main(tools, args, folder):
    seed = seed_of(args)
    rng = random.Random(seed)

    def random_command_lines(tools, folder):
        random_lines(tools, folder, rng, 1000 if args.long else 60)

    for part in (command_lines, random_command_lines, by_name, ends_of_connections, dead_backends, many_connections, few_descriptors,
                 slow_readers, init_daemon, as_init, etcd_behind_it):
        begin = time.monotonic()
        part(tools, folder)
        print(f"{part.__name__}: {time.monotonic() - begin:.1f} s", flush=True)


def add_arguments(parser):
    parser.add_argument("--seed", type=int, help="of the random command lines")


nameserver.prepare()
drive(main, __doc__, add_arguments, needs=["oracle-3.6", "interop"])
