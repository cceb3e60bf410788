#!/usr/bin/env python3
"""Runs the same command lines, environments and configuration files through a real etcd 3.6 and through
Quoin's etcd, and compares exit code, plain lines on standard error and log lines (without time, caller and
stack). A case ends with the process, or is stopped at the line that says the server is being started.

  flags_differential.py REAL_ETCD QUOIN_ETCD

What differs on purpose (own words in the usage text, options that are not served yet) is left out here.
Exits 1 with one block per difference."""
import json
import os
import re
import subprocess
import sys
import tempfile

ZERO = ["--listen-client-urls=http://127.0.0.1:0", "--advertise-client-urls=http://127.0.0.1:1",
        "--listen-peer-urls=http://127.0.0.1:0"]
STOP = ("Initialize and start etcd server", "server has already been initialized")

ARGS = """
--foo|-foo=1|--name|-name|--|-|---name|-=x|--=|--max-wals=x|--max-wals=-1|--max-wals=99999999999999999999
--max-wals=0x|--max-wals=0_1x|--max-wals=1__0|--quota-backend-bytes=9223372036854775808|--quota-backend-bytes=-x
--max-concurrent-streams=x|--max-concurrent-streams=99999999999|--pre-vote=x|--pre-vote=|--pre-vote false
--grpc-keepalive-min-time=5|--grpc-keepalive-min-time=1x|--grpc-keepalive-min-time=|--initial-cluster-state=x
--listen-peer-urls=http://foo.bar:1|--listen-peer-urls=http://a|--listen-peer-urls=foo|--listen-peer-urls=:foo
--listen-peer-urls=a:1|--listen-peer-urls=127.0.0.1:1|--listen-peer-urls=http://a b:1|--listen-peer-urls=http://a:b
--listen-peer-urls=http://[::1|--listen-peer-urls=http://[::1]|--listen-peer-urls=http://::1:5|--listen-peer-urls=http://a:1/
--listen-peer-urls=http://a:1/%zz|--listen-peer-urls=http://a%zz:1|--listen-peer-urls=http:foo|--listen-peer-urls=ftp://a:1
--listen-peer-urls=http://:2379|--listen-peer-urls=http://127.0.0.1:1,|--listen-client-urls=|--cors=|--cors=foo
--initial-advertise-peer-urls=http://:1|--initial-advertise-peer-urls=unix:///p|--advertise-client-urls=http://:1
--listen-client-urls=http://127.0.0.1:1|--listen-metrics-urls=http://x.y:1|--listen-client-http-urls=http://x.y:1
--feature-gates=Foo=true|--feature-gates=LeaseCheckpoint=x|--feature-gates=LeaseCheckpoint|--feature-gates==true
--feature-gates=LeaseCheckpointPersist=true|--log-level=foo|--log-format=foo|--logger=capnslog|--logger=foo
--log-outputs=/nonexist/x|--log-outputs=stdout,default|--enable-log-rotation|--snapshot 5|--config x|--vv word
--heartbeat-interval=0|--election-timeout=0|--heartbeat-interval=300|--election-timeout=60000|--election-timeout=50000 --heartbeat-interval=0
--initial-cluster= --discovery-srv=x --discovery=y|--initial-cluster=a=http://a:1 --discovery=y|--discovery-token=x
--discovery-proxy=x --discovery-user=y|--discovery-fallback=proxy|--discovery-fallback=foo|--discovery-endpoints=, --discovery-token=x
--auto-compaction-mode=|--auto-compaction-mode=x|--enable-distributed-tracing --distributed-tracing-sampling-rate=-1
--enable-distributed-tracing --distributed-tracing-sampling-rate=1000001|--compact-hash-check-time=0s
--compact-hash-check-time=-1h1m1.5s|--experimental-compact-hash-check-time=-20us|--tls-min-version=x|--tls-max-version=y
--tls-min-version=TLS1.3 --tls-max-version=TLS1.2|--tls-min-version=TLS1.3 --cipher-suites=a|--v2-deprecation=not-yet
--v2-deprecation=gone,write-only --auto-compaction-mode=x --name=a|--max-snapshots=1 --auto-compaction-mode=x --name=n
--experimental-corrupt-check-time=1s --corrupt-check-time=1s|--experimental-memory-mlock --memory-mlock
--experimental-enable-lease-checkpoint --feature-gates=LeaseCheckpointPersist=true
--experimental-compact-hash-check-enabled --feature-gates=AllAlpha=true
--experimental-warning-unary-request-duration=1s --warning-unary-request-duration=2s
--experimental-warning-unary-request-duration=1s --auto-compaction-mode=x|--experimental-enable-lease-checkpoint-persist
--experimental-enable-lease-checkpoint --auto-compaction-mode=x|--raft-read-timeout=1s --auto-compaction-mode=x
--name=a foo bar|--name a -- foo|--name=n --name=m --heartbeat-interval=0|--unsafe-no-fsync=maybe|--force-new-cluster x
--enable-log-rotation --log-outputs=/tmp/x.log --log-rotation-config-json={
--enable-log-rotation --log-outputs=/tmp/x.log --log-rotation-config-json={"maxsize":"a"}
--enable-log-rotation --log-outputs=/tmp/x.log --log-rotation-config-json={"compress":1}
--enable-log-rotation --log-outputs=/tmp/x.log --log-rotation-config-json=3
--enable-log-rotation --log-outputs=/tmp/x.log,/tmp/y.log|--log-outputs=systemd/journal,stderr|--log-outputs=systemd/journal
--experimental-enable-v2v3=x|--proxy=on|--enable-v2|--heartbeat-interval=1 --election-timeout=1
--log-level=warning --heartbeat-interval=0|--log-level=ERROR --heartbeat-interval=0|--log-format=console --heartbeat-interval=0
"""

ENVS = [
    ({"ETCD_NAME": "e"}, ["--heartbeat-interval=0"]),
    ({"ETCD_NAME": "e", "ETCD_MAX_WALS": "3"}, ["--name=f"]),
    ({"ETCD_NAME": ""}, ["--name=f"]),
    ({"ETCD_NAME": "", "ETCD_FOO": "1", "ETCD_VERIFY": "all"}, ["--heartbeat-interval=0"]),
    ({"ETCD_MAX_WALS": "x", "ETCD_PRE_VOTE": "y", "ETCD_QUOTA_BACKEND_BYTES": "z"}, []),
    ({"ETCD_VERSION": "9", "ETCD_VV": "1"}, ["--heartbeat-interval=0"]),
    ({"ETCD_FEATURE_GATES": "X=true"}, []),
    ({"ETCD_LISTEN_CLIENT_URLS": "http://127.0.0.1:7"}, []),
    ({"ETCD_CONFIG_FILE": "/nonexist"}, ["--name=a"]),
]

FILES = r"""
name: 123|socket-options:\n  reuse-port: 3|socket-options: 3|listen-peer-urls: 3|listen-metrics-urls: [a]|log-outputs: a
log-outputs: [1]|client-transport-security:\n  cert-file: 3|discovery-config:\n  client:\n    endpoints: 3
discovery-config:\n  token: 3|max-wals: -1|max-wals: 1.5|grpc-keepalive-min-time: 6s|foo|feature-gates: 3|cors: 3
max-concurrent-streams: 99999999999|enable-pprof: 1|quota-backend-bytes: "x"|snapshot-count: 1e3\nmax-wals: x|name: yes
log-outputs: [default, stderr]|log-level: foo|max-wals:\nname:\nmax-snapshots: x|initial-cluster-state: foo
auto-compaction-mode: ""|auto-compaction-retention: 1|NAME: abc\nHeartbeat-Interval: 0|listen-peer-urls: foo
advertise-client-urls: foo|cors: foo|feature-gates: Foo=true|peer-transport-security:|peer-transport-security: 3
experimental-corrupt-check-time: 1\ncorrupt-check-time: 1|election-timeout: 0x10|name: a\nunknown-key: [1,2]\nheartbeat-interval: 0
heartbeat-interval: 0b11\nelection-timeout: 1|v2-deprecation: whatever\nheartbeat-interval: 0|log-format: x
experimental-enable-lease-checkpoint: true\nfeature-gates: LeaseCheckpoint=false
a: &a {name: zz}\n<<: *a|a: &a {name: zz}\nname: own\n<<: *a|a: &a {name: one}\nb: &b {name: two}\n<<: [*a, *b]|<<: 5|<<: [5]
a: &a {name: zz}\n"<<": *a|<<: &q {name: in}|x: &v mm\nname: *v|name: *v|name: !!binary bW0=|name: !!binary "!"|name: !foo mm
name: !!null mm|snapshot-count: !!int "55"|snapshot-count: !!int x|snapshot-count: !!float 5|pre-vote: !!bool "true"
name: mm\n---\nname: second|name: mm\n...\n[|%YAML 1.2\n---\nname: mm|%YAML 1.1\n---\nname: mm|name: a\x01|name: mm\nname: nn
client-transport-security:\n  cert-file: /none\n  client-cert-auth: true|auth-token-ttl: 5|bcrypt-cost: 4|memory-mlock: true
"""

STARTS = [
    [], ["--name=n1"], ["--bcrypt-cost=4"], ["--auth-token-ttl=5"], ["--self-signed-cert-validity=5"],
    ["--peer-skip-client-san-verification"], ["--distributed-tracing-sampling-rate=100"], ["--cert-file=/none"],
    ["--log-outputs=file://host/x"], ["--log-outputs=http://x/y"], ["--log-outputs=file:///tmp/x?y"],
    ["--config-file=/tmp"], ["--config-file=/etc/passwd/x"], ["--max-snapshots=2", "--name=x"], ["--feature-gates=LeaseCheckpoint=true"],
    ["--experimental-compaction-batch-limit=3", "--experimental-memory-mlock=false", "--name=y"],
    ["--v2-deprecation=write-only", "--name=z"], ["--listen-client-http-urls=http://127.0.0.1:0"],
    ["--experimental-warning-unary-request-duration=1s"], ["--log-format=json", "--log-level=debug", "--name=q"],
]


def run(program, args, env, folder):
    clean = {k: v for k, v in os.environ.items() if not k.startswith("ETCD_")}
    clean.update(env)
    p = subprocess.Popen([program] + args, env=clean, cwd=folder, stdout=subprocess.DEVNULL, stderr=subprocess.PIPE,
                         text=True, errors="replace")
    lines, stopped = [], False
    for line in p.stderr:
        lines.append(line.rstrip("\n"))
        if any(s in line for s in STOP):
            stopped = True
            break
    p.kill()
    p.stderr.close()
    code = p.wait()
    # A program that only reads its options and leaves counts as started.
    started = stopped or (code == 0 and bool(lines))
    return (None if started else code), lines


def normal(lines, program):
    out = []
    for line in lines:
        if line.startswith("Usage:") or line.startswith("goroutine "):
            break
        if any(s in line for s in STOP):
            break
        if line.startswith("{"):
            o = json.loads(line)
            for key in ("ts", "caller", "stacktrace"):
                o.pop(key, None)
            if o.get("msg") == "Running: ":
                o["args"][0] = "etcd"
            if o.get("msg") == "failed to detect default host":
                continue
            out.append(json.dumps(o))
        elif re.match(r"\d{4}-\d\d-\d\dT", line):
            parts = line.split("\t")
            out.append("\t".join(parts[1:2] + parts[3:]).replace(json.dumps(program), '"etcd"'))
        elif line and not line.startswith("\t"):
            out.append(line)
    return out


def main(real, quoin):
    cases = [(line.split(" ") if "json={" not in line else line.split(" "), {}, None)
             for row in ARGS.strip().split("\n") for line in row.split("|")]
    cases = [([a for a in args], env, f) for args, env, f in cases]
    cases += [(args, env, None) for env, args in ENVS]
    cases += [(None, {}, text.replace("\\n", "\n").replace("\\x01", "\x01") + "\n") for row in FILES.strip().split("\n") for text in row.split("|")]
    cases += [(ZERO + args, {}, None) for args in STARTS]
    # One word with a blank inside.
    cases = [((["--listen-peer-urls=http://a b:1"] if args == ["--listen-peer-urls=http://a", "b:1"] else args), env, f)
             for args, env, f in cases]
    different = 0
    for args, env, text in cases:
        results = []
        for program in (real, quoin):
            with tempfile.TemporaryDirectory() as folder:
                words = list(args or [])
                if text is not None:
                    with open(os.path.join(folder, "c.yml"), "w", encoding="utf-8") as f:
                        f.write(text)
                    words = ["--config-file=c.yml"]
                code, lines = run(program, words, env, folder)
                results.append((code, normal(lines, program)))
        if results[0] != results[1]:
            different += 1
            print(f"== {args} {env} {text!r}")
            for label, (code, lines) in zip(("real ", "quoin"), results):
                print(f"  {label} exit {code}")
                for line in lines:
                    print(f"        {line}")
    print(f"{len(cases)} cases, {different} different")
    return 1 if different else 0


if __name__ == "__main__":
    if len(sys.argv) != 3:
        sys.exit(__doc__)
    sys.exit(main(os.path.abspath(sys.argv[1]), os.path.abspath(sys.argv[2])))
