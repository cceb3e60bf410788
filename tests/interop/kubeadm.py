#!/usr/bin/env python3
"""The static pod of etcd as kubeadm makes it: its command line word for word, its files under /etc/kubernetes/pki and
/var/lib/etcd, its certificates, its ports and its probes, with the program under test in the container.

    manifest    the manifest of etcd 3.6: the probes on the metrics port in plain HTTP and on the client port by TLS, healthy
                and with alarms; etcdctl as kubeadm's documents call it; a Kubernetes-like program over mutual TLS for 10 s (a
                minute); then the real 3.6 takes the directory over with the same command line, and gives it back
    older       the manifest of etcd 3.5, whose flags begin with experimental-; a real 3.5 takes over, and gives back
    join        two more control plane nodes join as `kubeadm join` lets them: a learner, its pod, a promotion. One of the three
                is a real 3.6; --long has the same with two, and removes one as `kubeadm reset` does

Answers to probes are compared with those of a real etcd of that version. Where a user may make namespaces, each node has a
network and a root directory of its own, so that paths and ports are kubeadm's; else there are free ports and a prefix."""

import json
import os
import pathlib
import re
import shutil
import signal
import subprocess
import sys
import time

sys.path.insert(0, str(pathlib.Path(__file__).resolve().parent.parent / "lib"))
import network as networks  # noqa: E402
from cluster import Ctl, wait_until  # noqa: E402
from members import Failure, Member, die_with_parent, drive, expect, free_port, run, stream  # noqa: E402

PKI = "/etc/kubernetes/pki"
DATA = "/var/lib/etcd"
# What kubelet asks, by the manifest of each version.
PROBES = {"3.6": {"liveness": "/livez", "readiness": "/readyz", "startup": "/readyz"},
          "3.5": {"liveness": "/health?exclude=NOSPACE&serializable=true", "startup": "/health?serializable=false"}}
# A container's view of the disk: $1 is its root, $2 the program.
CONTAINER = """
for d in usr proc dev; do mount --rbind /$d $1/$d || exit 1; done
mount --bind "$2" $1/etcd || exit 1
root=$1; shift 2
exec chroot $root /etcd "$@"
"""


class Authority:
    """kubeadm's certificates of etcd: RSA of 2048 bits, with its subjects, usages and names."""

    def __init__(self, folder):
        folder.mkdir(parents=True)
        self.folder = folder
        self.sign("ca", "ca", "/CN=etcd-ca", "DNS:etcd-ca", None)

    def sign(self, name, role, subject, san, usage):
        """Makes NAME.crt and NAME.key, by itself where there is no usage."""
        at = self.folder / name
        extensions = [f"subjectAltName={san}"] if san else []
        if usage:
            extensions += ["keyUsage=critical,digitalSignature,keyEncipherment", f"extendedKeyUsage={usage}",
                           "basicConstraints=critical,CA:FALSE", "authorityKeyIdentifier=keyid"]
        else:
            extensions += ["keyUsage=critical,digitalSignature,keyEncipherment,keyCertSign",
                           "basicConstraints=critical,CA:TRUE", "subjectKeyIdentifier=hash"]
        at.with_suffix(".cnf").write_text("\n".join(["[req]", "distinguished_name=dn", "x509_extensions=ext", "[dn]", "[ext]",
                                                      *extensions, ""]))
        # Nodes share keys: making one takes long.
        key = self.folder / f"{role}.rsa"
        if not key.exists():
            run(["openssl", "genrsa", "-out", key, "2048"])
        shutil.copy(key, f"{at}.key")
        signer = ["-CA", self.folder / "ca.crt", "-CAkey", self.folder / "ca.key"] if usage else []
        run(["openssl", "req", "-x509", "-new", "-config", f"{at}.cnf", "-key", key, "-subj", subject, "-days", "365", *signer,
             "-out", f"{at}.crt"])
        return at

    def node(self, pki, name, address):
        """A control plane node's files. The CA's key is on each of them."""
        (pki / "etcd").mkdir(parents=True)
        san = f"DNS:localhost,DNS:{name},IP:{address},IP:127.0.0.1,IP:0:0:0:0:0:0:0:1"
        both = "serverAuth,clientAuth"
        for target, subject, names, usage in (
                ("etcd/server", f"/CN={name}", san, both), ("etcd/peer", f"/CN={name}", san, both),
                ("etcd/healthcheck-client", "/CN=kube-etcd-healthcheck-client", "", "clientAuth"),
                ("apiserver-etcd-client", "/CN=kube-apiserver-etcd-client", "", "clientAuth")):
            role = pathlib.Path(target).name
            made = self.sign(f"{name}-{role}", role, subject, names, usage)
            for ending in (".crt", ".key"):
                shutil.copy(f"{made}{ending}", pki / f"{target}{ending}")
        for ending in (".crt", ".key"):
            shutil.copy(self.folder / f"ca{ending}", pki / f"etcd/ca{ending}")


class Pod:
    """A control plane node with its pod of etcd."""

    def __init__(self, tools, network, folder, authority, name):
        self.tools, self.network, self.name = tools, network, name
        self.folder = folder / name
        self.root = self.folder / "root"
        for d in ("usr", "proc", "dev", "tmp"):
            (self.root / d).mkdir(parents=True)
        for link in ("bin", "lib", "lib64"):
            if os.path.islink(f"/{link}"):
                (self.root / link).symlink_to(os.readlink(f"/{link}"))
        (self.root / "etcd").touch()
        if network:
            self.peer_port = self.ports = None
            network.place(self)
            self.ports, self.prefix = (2379, 2380, 2381), ""
        else:
            self.host = f"127.0.1.{len(Member.members) + 1}"
            self.ports, self.prefix = (free_port(), free_port(), free_port()), str(self.root)
        (self.root / DATA[1:]).mkdir(parents=True, mode=0o700)
        authority.node(self.root / PKI[1:], name, self.host)
        self.client, self.peer = (f"https://{self.host}:{p}" for p in self.ports[:2])
        self.local = f"https://127.0.0.1:{self.ports[0]}"
        self.metrics = f"http://127.0.0.1:{self.ports[2]}"
        self.initial = None  # of a cluster that exists
        self.log = self.folder / "log"
        self.process = None
        Member.members.append(self)  # ended and shown with the others

    def file(self, name):
        return self.root / PKI[1:] / name

    def flags(self, version):
        pki = self.prefix + PKI
        flags = {"advertise-client-urls": self.client, "cert-file": f"{pki}/etcd/server.crt", "client-cert-auth": "true",
                 "data-dir": self.prefix + DATA, "initial-advertise-peer-urls": self.peer,
                 "initial-cluster": self.initial or f"{self.name}={self.peer}", "key-file": f"{pki}/etcd/server.key",
                 "listen-client-urls": f"{self.local},{self.client}", "listen-metrics-urls": self.metrics,
                 "listen-peer-urls": self.peer, "name": self.name, "peer-cert-file": f"{pki}/etcd/peer.crt",
                 "peer-client-cert-auth": "true", "peer-key-file": f"{pki}/etcd/peer.key",
                 "peer-trusted-ca-file": f"{pki}/etcd/ca.crt", "snapshot-count": "10000", "trusted-ca-file": f"{pki}/etcd/ca.crt"}
        if self.initial:
            flags["initial-cluster-state"] = "existing"
        if version == "3.6":
            flags.update({"feature-gates": "InitialCorruptCheck=true", "watch-progress-notify-interval": "5s"})
        else:
            flags.update({"experimental-initial-corrupt-check": "true", "experimental-watch-progress-notify-interval": "5s"})
        return [f"--{name}={value}" for name, value in sorted(flags.items())]

    def start(self, program, version):
        command = [*map(str, program), *self.flags(version)]
        if self.network:
            command = self.network.wrap(self, ["unshare", "-m", "sh", "-c", CONTAINER, "container", str(self.root), *command])
        with open(self.log, "ab") as log:
            self.process = subprocess.Popen(command, stdout=log, stderr=log, stdin=subprocess.DEVNULL, preexec_fn=die_with_parent)
        return self

    def wait_probe(self, version, probe="startup", seconds=40):
        """As kubelet waits before it counts the pod as started."""
        def passes():
            expect(self.process.poll() is None, f"{self.name} ended with {self.process.returncode}\n{self.log_tail()}")
            status = self.probe(PROBES[version][probe])[0]
            return status.endswith("200 OK") or status
        wait_until(passes, f"the {probe} probe of {self.name}", seconds, every=0.1)
        return self

    def stop(self):
        """As kubelet ends a pod."""
        self.process.send_signal(signal.SIGTERM)
        try:
            code = self.process.wait(30)
        except subprocess.TimeoutExpired:
            raise Failure(f"{self.name} did not end within the 30 s that a pod is given") from None
        expect(code in (0, -signal.SIGTERM), f"after SIGTERM {self.name} ended with {code}\n{self.log_tail()}")

    def end(self):
        if self.process is not None and self.process.poll() is None:
            self.process.kill()
            self.process.wait()

    def log_tail(self):
        return "\n".join(line[:300] for line in self.log.read_text(errors="replace").splitlines()[-12:]) if self.log.exists() else ""

    # ---- what is asked of it ----

    def here(self, *command):
        """Runs a command on the node."""
        return run(self.network.wrap(self, list(command)) if self.network else command, check=False, timeout=60)

    def answer(self, done):
        head, _, body = done.stdout.replace("\r", "").partition("\n\n")
        status, *fields = re.sub(r"(?im)^date: .*$", "date: D", head).split("\n")
        # Which check comes first is chance.
        return status or "no answer", sorted(f.lower() for f in fields), "\n".join(sorted(body.split("\n")))

    def probe(self, path):
        """As kubelet asks."""
        return self.answer(self.here("curl", "-sS", "-i", "--max-time", "15", "-A", "kube-probe/1.34", "-H", "Connection: close",
                                     self.metrics + path))

    def secure_probe(self, url, path, certificate, *args):
        mine = ["--cert", self.file(f"{certificate}.crt"), "--key", self.file(f"{certificate}.key")] if certificate else []
        return self.answer(self.here("curl", "-sS", "-i", "--max-time", "15", "--cacert", self.file("etcd/ca.crt"), *mine, *args,
                                     url + path))

    def etcdctl(self, *args, check=True):
        """With the files and the endpoint of kubeadm's documents."""
        done = self.here(self.tools.oracle, "etcdctl", "--endpoints", self.local, "--cacert", self.file("etcd/ca.crt"), "--cert",
                         self.file("etcd/healthcheck-client.crt"), "--key", self.file("etcd/healthcheck-client.key"), *args)
        expect(not check or done.returncode == 0, f"etcdctl {args} on {self.name}: {done.stdout}{done.stderr}\n{self.log_tail()}")
        return done

    def ask(self, version):
        """Every probe by every way, by name."""
        said = {}
        for path in sorted({*PROBES[version].values(), "/health", "/metrics", "/version"}):
            plain = self.probe(path)
            by_tls = self.secure_probe(self.local, path, "etcd/healthcheck-client", "--http1.1")
            if path in ("/metrics", "/version"):  # the text is compared elsewhere
                plain, by_tls = plain[0], by_tls[0]
            said[f"{path} on the metrics port"] = plain
            said[f"{path} by TLS"] = by_tls
        live = PROBES[version]["liveness"]
        said["liveness by HTTP/2"] = self.secure_probe(self.client, live, "apiserver-etcd-client", "--http2")
        said["liveness by the server's own certificate"] = self.secure_probe(self.client, live, "etcd/server", "--http1.1")
        said["liveness without a certificate"] = self.secure_probe(self.local, live, None)[0]
        said["liveness by TLS on the metrics port"] = self.secure_probe(self.metrics.replace("http:", "https:"), live, None)[0]
        said["liveness in plain HTTP on the client port"] = self.here(
            "curl", "-sS", "--max-time", "5", self.local.replace("https:", "http:") + live).returncode != 0
        return said


class Stage:
    """What the parts share: programs, certificates, nodes."""

    def __init__(self, tools, args, folder):
        self.tools, self.args, self.folder = tools, args, folder
        self.network = networks.Namespaces(tools) if os.environ.get("QUOIN_TEST_USER") else None
        self.authority = Authority(folder / "authority")
        self.programs = {"ours": tools.ours, "3.6": tools.real, "3.5": tools.real35}
        self.ctl = None

    def pod(self, name):
        return Pod(self.tools, self.network, self.folder, self.authority, name)

    def with_clients(self, pod):
        """Go clients present the API server's certificate from now on."""
        for variable, name in (("CA", "etcd/ca.crt"), ("CERT", "apiserver-etcd-client.crt"), ("KEY", "apiserver-etcd-client.key")):
            os.environ[f"QUOIN_TEST_{variable}"] = str(pod.file(name))
        if self.ctl:
            self.ctl.close()
        self.ctl = Ctl(self.tools)

    def kubernetes(self, pod, seconds):
        stream([self.tools.interop, "kubernetes", "--endpoint", pod.client[8:], "--duration", f"{seconds}s", "--seed", self.args.seed or 1],
               timeout=seconds + 60)

    def content(self, pod):
        h = self.ctl.must("hashkv", pod.client[8:])
        return h["hash"], h["revision"], h["compacted"]


def compare(what, ours, real):
    bad = [f"{what}, {name}:\n  ours {ours[name]}\n  real {real[name]}" for name in ours if ours[name] != real[name]]
    expect(not bad, "\n".join(bad))
    return len(ours)


def take_over(stage, pod, version, asked):
    """The real one on the same directory by the same command line, compared with what ours said before, and back."""
    before = stage.content(pod)
    pod.stop()
    pod.start(stage.programs[version], version).wait_probe(version)
    expect(stage.content(pod) == before, f"taken over: {stage.content(pod)}, not {before}")
    real = asked()
    stage.kubernetes(pod, 2)
    before = stage.content(pod)
    pod.stop()
    pod.start(stage.programs["ours"], version).wait_probe(version)
    expect(stage.content(pod) == before, f"back: {stage.content(pod)}, not {before}")
    return real


def manifest(stage):
    version = "3.6"
    pod = stage.pod("cp1")
    pod.start(stage.programs["ours"], version).wait_probe(version)
    stage.with_clients(pod)

    def asked():
        said = {"healthy": pod.ask(version)}
        for alarm in ("NOSPACE", "CORRUPT"):
            stage.ctl.must("alarm", pod.client[8:], Action="ACTIVATE", Alarm=alarm)
            said[alarm] = pod.ask(version)
            stage.ctl.must("alarm", pod.client[8:], Action="DEACTIVATE", Alarm=alarm)
        return said

    ours = asked()
    healthy = ours["healthy"]
    for probe, path in PROBES[version].items():
        for way in ("on the metrics port", "by TLS"):
            expect("200" in healthy[f"{path} {way}"][0], f"{probe} {way}: {healthy[f'{path} {way}']}")
    expect("200" in ours["NOSPACE"]["/readyz on the metrics port"][0], "a full disk takes the pod out of service")
    expect("503" in ours["CORRUPT"]["/readyz on the metrics port"][0], "damaged data leaves the pod in service")
    # The documents' calls.
    expect("is healthy" in pod.etcdctl("endpoint", "health", "--cluster").stderr + pod.etcdctl("endpoint", "health").stdout, "health")
    expect(f", started, cp1, {pod.peer}, {pod.client}, false" in pod.etcdctl("member", "list").stdout, "member list")
    pod.etcdctl("endpoint", "status", "--write-out=table")
    pod.etcdctl("snapshot", "save", str(pod.folder / "snapshot.db"))
    pod.etcdctl("put", "/registry/x", "y")
    expect(pod.etcdctl("get", "/registry/", "--prefix", "--keys-only").stdout == "/registry/x\n\n", "keys")
    pod.etcdctl("del", "/registry/x")
    stage.kubernetes(pod, 60 if stage.args.long else 10)
    answers = 0
    for state, real in take_over(stage, pod, version, asked).items():
        answers += compare(f"{version}, {state}", ours[state], real)
    pod.stop()
    print(f"manifest: {answers} answers compared, handed to a real {version} and back", flush=True)


def older(stage):
    version = "3.5"
    pod = stage.pod("old1")
    # A directory of 3.6 is none for 3.5: the real one makes it.
    pod.start(stage.programs[version], version).wait_probe(version)
    stage.with_clients(pod)
    stage.kubernetes(pod, 2)
    real = pod.ask(version)
    before = stage.content(pod)
    pod.stop()
    pod.start(stage.programs["ours"], version).wait_probe(version)
    expect(stage.content(pod) == before, f"taken over: {stage.content(pod)}, not {before}")
    ours = pod.ask(version)
    stage.kubernetes(pod, 2)
    pod.stop()
    # 3.5 answers fewer things, and in its own words, on paths its manifest does not name.
    count = compare(version, {n: a for n, a in ours.items() if not n.startswith("/version")}, real)
    print(f"older: {count} answers compared, taken over from a real {version}", flush=True)


def join_node(stage, first, pod, kind):
    """`kubeadm join --control-plane`: announces a learner, writes the manifest, waits for the pod, promotes."""

    def announced():
        done = pod.etcdctl("--endpoints", first.client, "member", "add", pod.name, "--learner", f"--peer-urls={pod.peer}", check=False)
        # All members must have been connected for 5 s.
        expect(done.returncode == 0 or "unhealthy cluster" in done.stderr, done.stderr)
        return done.returncode == 0 or done.stderr
    wait_until(announced, f"{pod.name} is announced", 40, every=0.2)
    listed = json.loads(pod.etcdctl("--endpoints", first.client, "member", "list", "-w", "json").stdout)["members"]
    pod.initial = ",".join(f"{m.get('name') or pod.name}={m['peerURLs'][0]}" for m in listed)
    mine = next(m for m in listed if m["peerURLs"] == [pod.peer])
    expect(mine.get("isLearner"), f"{pod.name} is no learner")
    pod.start(stage.programs[kind], "3.6").wait_probe("3.6", "liveness")
    learner = {}

    def settled():
        # The checks of its start are behind it when it knows the leader.
        learner["ready"] = pod.probe("/readyz?verbose")
        return "[+]linearizable_read ok" in learner["ready"][2] or "not supported for learner" in learner["ready"][2] \
            and "[+]serializable_read ok" in learner["ready"][2] or learner["ready"]
    wait_until(settled, f"{pod.name} as a learner")
    learner["live"] = pod.probe("/livez")

    def promoted():
        done = pod.etcdctl("--endpoints", first.client, "member", "promote", f"{mine['ID']:x}", check=False)
        return done.returncode == 0 or done.stderr
    wait_until(promoted, f"{pod.name} is promoted", every=0.2)
    pod.wait_probe("3.6", "readiness")
    learner["voter"] = pod.probe("/readyz")
    wait_until(lambda: pod.etcdctl("endpoint", "health", "--cluster", check=False).returncode == 0 or "unhealthy", "health of all")
    return learner


def join(stage):
    for kinds in [("ours", "3.6", "ours"), ("3.6", "ours", "3.6")][:2 if stage.args.long else 1]:
        pods = [stage.pod(f"{'-'.join(kinds).replace('.', '')}-{i + 1}") for i in range(3)]
        pods[0].start(stage.programs[kinds[0]], "3.6").wait_probe("3.6")
        stage.with_clients(pods[0])
        learners = {kind: join_node(stage, pods[0], pod, kind) for pod, kind in zip(pods[1:], kinds[1:])}
        compare("a learner", learners["ours"], learners["3.6"])
        stage.kubernetes(pods[1], 60 if stage.args.long else 3)
        for pod in pods:
            pod.etcdctl("put", "/registry/node", pod.name)
            for other in pods:
                expect(other.etcdctl("get", "/registry/node", "--print-value-only").stdout == f"{pod.name}\n", f"{pod.name}, {other.name}")
        revision = int(json.loads(pods[0].etcdctl("endpoint", "status", "-w", "json").stdout)[0]["Status"]["header"]["revision"])
        seen = {p.name: stage.ctl.must("hashkv", p.client[8:], Revision=revision)["hash"] for p in pods}
        expect(len(set(seen.values())) == 1, f"HashKV at {revision}: {seen}")
        # Each pod alone is started anew, as by an upgrade of kubeadm.
        for pod, kind in zip(pods, kinds):
            pod.stop()
            pod.start(stage.programs[kind], "3.6").wait_probe("3.6").wait_probe("3.6", "readiness")
        if stage.args.long:
            listed = json.loads(pods[0].etcdctl("member", "list", "-w", "json").stdout)["members"]
            gone = next(m["ID"] for m in listed if m["name"] == pods[1].name)
            pods[0].etcdctl("member", "remove", f"{gone:x}")
            pods[1].process.wait(30)
            wait_until(lambda: pods[0].etcdctl("put", "/registry/two", "left", check=False).returncode == 0 or "no", "two are left")
        for pod in pods:
            if pod.process.poll() is None:
                pod.process.send_signal(signal.SIGTERM)
        for pod in pods:
            pod.process.wait(30)
        bad = [line for p, kind in zip(pods, kinds) for line in p.log.read_text(errors="replace").splitlines()
               if '"rejected connection on' in line and not re.search("EOF|reset|broken pipe|closed", line)]
        expect(not bad, "rejected connections:\n" + "\n".join(bad[:5]))
        print(f"join: {', '.join(kinds)}", flush=True)


PARTS = {"manifest": manifest, "older": older, "join": join}


def main(tools, args, folder):
    if not os.environ.get("QUOIN_TEST_USER"):
        print("no namespaces for this user: free ports, and paths with a prefix")
    stage = Stage(tools, args, folder)
    for name, part in PARTS.items():
        if not args.part or name in args.part:
            began = time.monotonic()
            part(stage)
            print(f"{name} took {time.monotonic() - began:.1f} s", flush=True)


def arguments(parser):
    parser.add_argument("--part", action="append", choices=PARTS)
    parser.add_argument("--seed", type=int, default=0)
    networks.add_argument(parser)


if __name__ == "__main__":
    networks.prepare()
    drive(main, __doc__, arguments, needs=("oracle-3.6", "etcd-3.5", "interop"))
