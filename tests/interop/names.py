#!/usr/bin/env python3
"""Members that are given names instead of addresses, beside a real etcd with the same arguments and the same name
server: host names in --initial-cluster and in the flags of a member that joins, the founding of a cluster by DNS SRV
records, and the address that connections to other members come from. What both refuse, and the lines they log about
it, must be equal."""

import json
import pathlib
import re
import signal
import subprocess
import sys
import time

sys.path.insert(0, str(pathlib.Path(__file__).resolve().parent.parent / "lib"))
import nameserver  # noqa: E402
from members import Failure, die_with_parent, drive, expect, free_port, run  # noqa: E402

# Lines that must be equal, with these fields.
LINES = {
    "resolved URL Host": ["url", "host", "resolved-addr"],
    "failed to resolve URL Host": ["url", "host", "retry-interval", "error"],
    "get cluster for etcd-server-ssl SRV": ["service-scheme", "service-name", "server-name", "discovery-srv",
                                            "advertise-peer-urls", "found-cluster", "error"],
    "get cluster for etcd-server SRV": ["service-scheme", "service-name", "server-name", "discovery-srv",
                                        "advertise-peer-urls", "found-cluster", "error"],
    "failed to resolve during SRV discovery": ["error"],
    "got bootstrap from DNS for etcd-server": ["node"],
    "starting an etcd server": ["initial-cluster", "experimental-local-address"],
    "searching for a suitable member local address in AdvertisePeerURLs": ["advertise-peer-urls"],
    "setting member local address": ["LocalAddr"],
    "unable to set a member local address due to lack of suitable local addresses": ["advertise-peer-urls"],
    "bootstrap failed": ["error"],
    "discovery failed": ["error"],
    "ready to serve client requests": [],
}


class Started:
    """One program on a fresh directory; its log lines."""

    def __init__(self, program, folder, name, peer, client, *flags):
        folder.mkdir(parents=True)
        self.client, self.peer, self.name = client, peer, name
        self.log = folder / "log"
        command = [*map(str, program), "--name", name, "--data-dir", str(folder / "data"),
                   "--listen-client-urls", f"http://127.0.0.1:{client}",
                   "--advertise-client-urls", f"http://127.0.0.1:{client}",
                   "--listen-peer-urls", f"http://0.0.0.0:{peer}", *flags]
        with open(self.log, "wb") as log:
            self.process = subprocess.Popen(command, stdout=log, stderr=log, stdin=subprocess.DEVNULL,
                                            preexec_fn=die_with_parent)

    def lines(self):
        out = []
        for line in self.log.read_text(errors="replace").splitlines():
            try:
                entry = json.loads(line)
            except ValueError:
                continue
            if entry.get("msg") in LINES:
                out.append((entry["msg"], {f: entry[f] for f in LINES[entry["msg"]] if f in entry}))
        return out

    def wait(self, *messages, seconds=40):
        """Until one of the lines stands in the log, or the program has ended."""
        deadline = time.monotonic() + seconds
        while time.monotonic() < deadline:
            ended = self.process.poll() is not None
            if ended or any(m in messages for m, _ in self.lines()):
                return
            time.sleep(0.05)
        raise Failure(f"{self.name}: none of {messages} after {seconds} s\n{self.log.read_text()[-2000:]}")

    def end(self):
        if self.process.poll() is None:
            self.process.send_signal(signal.SIGTERM)
            try:
                self.process.wait(20)
            except subprocess.TimeoutExpired:
                self.process.kill()
                self.process.wait()
        return self.process.returncode


def comparable(lines):
    """Lines without what differs from run to run: the order of SRV records of equal weight decides who is called 0
    and who 1, and the port that a question was sent from is in an error."""
    return [(m, re.sub(r"read udp \S+: ", "", json.dumps(fields, sort_keys=True))) for m, fields in lines]


def alone(tools, folder, what, flags, serves, peer=None):
    """Starts both programs with the same arguments, and compares. PEER in a flag is the port for members."""
    said, codes = [], []
    peer, client = peer or free_port(), free_port()
    flags = [f.replace("PEER", str(peer)) for f in flags]
    for kind, program in (("ours", tools.ours), ("real", tools.real)):
        one = Started(program, folder / f"{what}-{kind}", "m1", peer, client, *flags)
        try:
            one.wait("ready to serve client requests")
        finally:
            codes.append(one.end())
        said.append(comparable(one.lines()))
    ready = any(m == "ready to serve client requests" for m, _ in said[0])
    if said[0] != said[1] or ready != serves or (codes[0] == 1) != (codes[1] == 1):
        raise Failure(f"{what}: exit {codes}\nours:\n" + "\n".join(map(str, said[0])) + "\nreal:\n" +
                      "\n".join(map(str, said[1])))
    print(f"{what}: {len(said[0])} lines, {'serves' if serves else 'refused'}", flush=True)


def found_by_srv(tools, folder, server, programs, what):
    """Three members by SRV records, of Quoin and etcd by choice: each knows itself by its address."""
    ports = [free_port() for _ in programs]
    server.records["_etcd-server._tcp.three.test"] = [(p, f"n{i}.test.") for i, p in enumerate(ports)]
    members = []
    try:
        for i, (program, port) in enumerate(zip(programs, ports)):
            members.append(Started(program, folder / f"{what}-{i}", f"m{i}", port, free_port(),
                                   "--discovery-srv", "three.test",
                                   "--initial-advertise-peer-urls", f"http://n{i}.test:{port}"))
        for m in members:
            m.wait("ready to serve client requests")
            expect(m.process.poll() is None, f"{what}: {m.name} ended\n{m.log.read_text()[-3000:]}")
        listed = json.loads(run([tools.oracle, "etcdctl", "--endpoints", f"127.0.0.1:{members[0].client}", "member",
                                 "list", "-w", "json"]).stdout)["members"]
        expect(sorted(m["name"] for m in listed) == ["m0", "m1", "m2"], f"{what}: {listed}")
        run([tools.oracle, "etcdctl", "--endpoints", f"127.0.0.1:{members[2].client}", "put", "a", "b"])
    finally:
        for m in members:
            m.process.kill()
            m.end()
    print(f"{what}: founded", flush=True)


def join_by_other_names(tools, folder, first, second, what):
    """A member joins with other names for the addresses that the cluster knows; and is refused with wrong ones."""
    peers, clients = [free_port(), free_port()], [free_port(), free_port()]
    urls = [f"http://127.0.0.1:{p}" for p in peers]
    one = Started(first, folder / f"{what}-1", "m1", peers[0], clients[0], "--initial-advertise-peer-urls", urls[0],
                  "--initial-cluster", f"m1={urls[0]}")
    said = None
    two = None
    try:
        one.wait("ready to serve client requests")
        ctl = [tools.oracle, "etcdctl", "--endpoints", f"127.0.0.1:{clients[0]}"]
        # A name of an address that is a member's already is another URL: duplicates are compared as text.
        run([*ctl, "member", "add", "m2", "--peer-urls", urls[1]])
        wrong = Started(second, folder / f"{what}-wrong", "m2", peers[1], clients[1], "--initial-cluster-state",
                        "existing", "--initial-advertise-peer-urls", urls[1], "--initial-cluster",
                        f"m1=http://n0.test:{peers[0]},m2=http://n9.test:{peers[1]}")
        wrong.wait()
        expect(wrong.end() == 1, f"{what}: joined with a wrong address")
        said = [re.sub(r"[0-9a-f]{12,16}", "ID", str(f.get("error"))) for m, f in wrong.lines() if m == "bootstrap failed"]
        two = Started(second, folder / f"{what}-2", "m2", peers[1], clients[1], "--initial-cluster-state", "existing",
                      "--initial-advertise-peer-urls", urls[1], "--initial-cluster",
                      f"m1=http://n0.test:{peers[0]},m2=http://n1.test:{peers[1]}")
        two.wait("ready to serve client requests")
        expect(two.process.poll() is None, f"{what}: the joiner ended\n{two.log.read_text()[-3000:]}")
    finally:
        for m in (one, two):
            if m is not None:
                m.process.kill()
                m.end()
    print(f"{what}: joined by names; a wrong one: {said}", flush=True)
    expect(said and "PeerURLs: no match found for existing member" in said[0] and "resolved urls:" in said[0],
           f"{what}: {said}")


def local_address(tools, folder):
    """With SetMemberLocalAddr connections to another member come from the advertised address."""
    run(["ip", "addr", "add", "10.78.0.1/32", "dev", "lo"])
    run(["ip", "addr", "add", "10.78.0.2/32", "dev", "lo"])
    for kind, program in (("ours", tools.ours), ("real", tools.real)):
        for gate in (True, False):
            ports = [free_port(), free_port()]
            urls = [f"http://10.78.0.{i + 1}:{p}" for i, p in enumerate(ports)]
            cluster = ",".join(f"m{i}={u}" for i, u in enumerate(urls))
            members = []
            try:
                for i in range(2):
                    flags = ["--feature-gates", "SetMemberLocalAddr=true"] if gate and i == 0 else []
                    members.append(Started(program, folder / f"from-{kind}-{gate}-{i}", f"m{i}", ports[i], free_port(),
                                           "--initial-advertise-peer-urls", urls[i], "--initial-cluster", cluster, *flags))
                for m in members:
                    m.wait("ready to serve client requests")
                shown = run(["ss", "-Htnp", "state", "established", f"dport = :{ports[1]}"]).stdout
                sources = {line.split()[2].rpartition(":")[0] for line in shown.splitlines()
                           if f"pid={members[0].process.pid}," in line}
                # Without the gate the kernel takes the address of the target, which is its own.
                expect(sources == {"10.78.0.1" if gate else "10.78.0.2"}, f"{kind}, gate {gate}: {sources}\n{shown}")
            finally:
                for m in members:
                    m.process.kill()
                    m.end()
    print("connections to members come from the advertised address, if that is asked for", flush=True)


def main(tools, args, folder):
    server = nameserver.NameServer(folder, {
        "n0.test": ["127.0.0.1"], "n1.test": ["127.0.0.1"], "n2.test": ["127.0.0.1"], "n9.test": ["127.0.0.9"]})
    advertise = ["--initial-advertise-peer-urls", "http://127.0.0.1:PEER"]
    alone(tools, folder, "a name for the address", [*advertise, "--initial-cluster", "m1=http://n0.test:PEER"], True)
    alone(tools, folder, "a name advertised", ["--initial-advertise-peer-urls", "http://n0.test:PEER",
                                               "--initial-cluster", "m1=http://127.0.0.1:PEER"], True)
    alone(tools, folder, "another address", [*advertise, "--initial-cluster", "m1=http://n9.test:PEER"], False)
    alone(tools, folder, "localhost", [*advertise, "--initial-cluster", "m1=http://localhost:PEER"], False)
    alone(tools, folder, "no local address", [*advertise, "--initial-cluster", "m1=http://127.0.0.1:PEER",
                                              "--feature-gates", "SetMemberLocalAddr=true"], True)
    srv = ["--discovery-srv"]
    alone(tools, folder, "no records", [*advertise, *srv, "none.test"], False)
    alone(tools, folder, "advertised name unknown", ["--initial-advertise-peer-urls", "http://nohost.test:PEER", *srv,
                                                     "none.test"], False)
    alone(tools, folder, "two ways", [*advertise, *srv, "none.test", "--initial-cluster", "m1=http://n0.test:PEER"], False)
    for what, service, target, flags, serves in (
            ("one record", "_etcd-server._tcp", "n0.test.", [], True),
            ("a suffix", "_etcd-server-x._tcp", "n0.test.", ["--discovery-srv-name", "x"], True),
            ("a record of another", "_etcd-server._tcp", "n9.test.", [], False),
            ("a target that is not there", "_etcd-server._tcp", "nohost.test.", [], False),
            ("a scheme that does not fit", "_etcd-server-ssl._tcp", "n0.test.", [], False)):
        peer = free_port()
        domain = re.sub(r"\W", "-", what) + ".test"
        server.records[f"{service}.{domain}"] = [(peer, target)]
        alone(tools, folder, f"SRV, {what}", [*advertise, *srv, domain, *flags], serves, peer)
    found_by_srv(tools, folder, server, [tools.ours, tools.ours, tools.real], "two of Quoin and one of etcd by SRV")
    join_by_other_names(tools, folder, tools.ours, tools.ours, "quoin joins quoin")
    join_by_other_names(tools, folder, tools.real, tools.ours, "quoin joins etcd")
    join_by_other_names(tools, folder, tools.ours, tools.real, "etcd joins quoin")
    local_address(tools, folder)


if __name__ == "__main__":
    nameserver.prepare()
    drive(main, __doc__, needs=["oracle-3.6"])
