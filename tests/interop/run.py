#!/usr/bin/env python3
"""All comparisons with real members and real clients, one after the other, short or --long. `make interop` calls
it; ctest runs the same drivers one by one (tests/CMakeLists.txt)."""

import argparse
import pathlib
import subprocess
import sys
import time

TESTS = pathlib.Path(__file__).resolve().parent.parent

SHORT_CASES = [word for case in ("corruption_at_the_start", "join_with_one_missing", "removed_member_returns",
                                 "runbook_replace_a_member", "runbook_restart_of_all") for word in ("--only", case)]

# Name, driver, arguments, seconds the short and the long form may take, and arguments of the short form alone.
DRIVERS = [
    ("differential", "interop/differential.py", [], 300, 2400),
    ("rangestream", "interop/rangestream.py", [], 200, 1200),
    ("malformed", "interop/malformed.py", [], 200, 200),
    ("connections", "interop/connections.py", [], 200, 200),
    ("slow_lines", "interop/slow_lines.py", [], 200, 200),
    ("trace_lines", "interop/trace_lines.py", [], 200, 200),
    ("own_checks", "interop/own_checks.py", [], 200, 200),
    ("logs", "interop/logs.py", [], 240, 240),
    ("http", "interop/http_endpoints.py", [], 120, 120),
    ("process", "interop/process.py", [], 240, 240),
    ("names", "interop/names.py", [], 300, 300),
    ("tls", "interop/tls.py", [], 300, 300),
    ("gateway", "interop/gateway.py", [], 200, 600),
    ("auth.calls", "interop/auth_calls.py", [], 200, 200),
    ("auth.random", "interop/auth_random.py", [], 300, 2400),
    ("auth.tokens", "interop/auth_tokens.py", [], 300, 300),
    ("auth.members", "interop/auth_members.py", [], 400, 2400),
    ("auth.clients", "clients/login.py", [], 400, 400),
    ("tls.rotation", "interop/tls_rotation.py", [], 300, 1200),
    ("tls.answers", "interop/tls_floods.py", ["--part", "answers"], 120, 120),
    ("tls.floods", "interop/tls_floods.py", ["--part", "floods"], 300, 900),
    ("kubeadm", "interop/kubeadm.py", ["--part", "manifest", "--part", "older"], 200, 400),
    ("kubeadm.join", "interop/kubeadm.py", ["--part", "join"], 200, 600),
    ("tcp_gateway", "interop/tcp_gateway.py", [], 400, 1200),
    ("etcdctl.sessions", "interop/etcdctl_sessions.py", [], 600, 600),
    ("etcdctl", "interop/etcdctl.py", [], 600, 1200),
    ("packages", "interop/packages.py", [], 300, 300),
    ("benchmark", "interop/benchmark.py", [], 300, 600),
    ("grpc_proxy", "interop/grpc_proxy.py", [], 600, 1800),
    ("history", "interop/history.py", [], 300, 300),
    ("cluster.calls", "interop/cluster_calls.py", [], 300, 300),
    ("cluster.tools", "interop/cluster_tools.py", [], 300, 300),
    ("cluster.failover", "interop/cluster_failover.py", [], 300, 5400),
    ("cluster.partition", "interop/cluster_partition.py", [], 300, 3600),
    ("cluster.slow_links", "interop/cluster_partition.py", ["--network", "proxies", "--only", "slow_links"], 120, 900),
    ("cluster.disk", "interop/cluster_disk.py", [], 200, 1200),
    ("cluster.swap", "interop/cluster_swap.py", [], 300, 1800),
    ("cluster.mixed", "interop/cluster_mixed.py", [], 400, 10800,
     ["--members", "quoin,quoin,3.6", "--only", "leases", "--only", "grow_and_shrink", "--only", "random_faults", "--seconds", "10"]),
    ("cluster.cases", "interop/cluster_cases.py", [], 400, 5400, SHORT_CASES),
    ("cluster.locks", "interop/locks.py", [], 200, 1800),
    ("cluster.readme", "interop/cluster_readme.py", [], 120, 120),
    ("etcdutl", "interop/etcdutl.py", [], 400, 400),
    ("etcdutl.check", "interop/etcdutl_check.py", [], 200, 1200),
    ("cluster.runbook", "interop/runbook.py", [], 300, 1800),
    ("interchange.swap", "interop/interchange.py", ["--only", "swap"], 300, 900),
    ("interchange.versions", "interop/interchange.py", ["--only", "versions"], 200, 200),
    ("interchange.snapshots", "interop/interchange.py", ["--only", "snapshots"], 200, 200),
    ("peers", "interop/peers.py", [], 300, 300),
    ("impatient", "interop/impatient.py", [], 240, 1200),
    ("crash", "interop/crash.py", [], 300, 900),
    ("client.etcdctl", "clients/etcdctl.py", [], 120, 120),
    ("client.python", "clients/python_etcd3.py", [], 120, 120),
    ("client.go", "clients/go_client.py", ["--part", "client"], 120, 120),
    ("client.kubernetes", "clients/go_client.py", ["--part", "kubernetes"], 120, 240),
    ("client.node", "clients/node_client.py", [], 240, 240),
]


def main():
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--build", required=True, help="build folder, with bin/etcd and oracle/")
    parser.add_argument("--etcd", help="the program under test (default: BUILD/bin/etcd)")
    parser.add_argument("--long", action="store_true")
    parser.add_argument("--only", action="append", help="run only drivers whose name begins so")
    parser.add_argument("--list", action="store_true", help="for CMake: name;driver;arguments;timeout of the short forms")
    args = parser.parse_args()
    build = pathlib.Path(args.build)
    if args.list:
        for name, driver, extra, short, _, *short_extra in DRIVERS:
            print(f"{name}|{driver}|{' '.join([*extra, *sum(short_extra, [])])}|{short}")
        return 0
    etcd = args.etcd or build / "bin" / "etcd"
    results = []
    for name, driver, extra, short, long, *short_extra in DRIVERS:
        if args.only and not any(name.startswith(o) for o in args.only):
            continue
        print(f"=== {name}", flush=True)
        begin = time.monotonic()
        command = [sys.executable, TESTS / driver, "--etcd", etcd, "--oracle", build / "oracle", *extra]
        command += ["--long"] if args.long else sum(short_extra, [])
        try:
            code = subprocess.run(command, timeout=long if args.long else short, check=False).returncode
        except subprocess.TimeoutExpired:
            code = "timeout"
        results.append((name, code, time.monotonic() - begin))
    print()
    for name, code, seconds in results:
        word = {0: "passed", 77: "SKIPPED"}.get(code, f"FAILED ({code})")
        print(f"{name:<24}{word:<16}{seconds:6.1f} s")
    return 0 if all(code in (0, 77) for _, code, _ in results) else 1


sys.exit(main())
