#!/usr/bin/env python3
"""etcd-benchmark against one Quoin and one real etcd 3.6.

    commands   each command with a small total: exit code, every line of its output against etcd's format, the numbers in it
               against each other, and what the member holds afterwards
    json       the same figures as one object
    endings    a signal, a reader that has gone, a full disk, endpoints that refuse, hang or stop, wrong certificates and
               passwords: one line, the exit code
    tls        with certificates, and with users
    h2load     (if it is there) Requests/sec and the CPU of tool and member for a Put, beside h2load's. The tool costs at most
               half of what h2load and the member cost (the short form, beside other tests: three quarters). The rates agree
               within a tenth, which the long form alone asks, on a machine that does nothing else."""

import json
import os
import pathlib
import re
import resource
import shutil
import signal
import socket
import ssl
import statistics
import struct
import subprocess
import sys
import time
import urllib.request

sys.path.insert(0, str(pathlib.Path(__file__).resolve().parent.parent / "lib"))
from authority import Authority  # noqa: E402
from members import Member, Skip, die_with_parent, drive, expect, free_port, run  # noqa: E402

NUMBER = r"\d+\.\d{4}"
BAR = "∎"


class Lines:
    """Takes the output of the tool apart, line by line; what does not fit is a failure."""

    def __init__(self, text):
        self.text = text
        self.lines = text.split("\n")
        expect(self.lines.pop() == "", f"the output does not end with a line feed:\n{text}")

    def take(self, pattern):
        expect(self.lines, f"the output ends where /{pattern}/ should follow:\n{self.text}")
        line = self.lines.pop(0)
        m = re.fullmatch(pattern, line)
        expect(m, f"the line {line!r} is not /{pattern}/:\n{self.text}")
        return m

    def end(self):
        expect(not self.lines, f"unexpected lines {self.lines[:3]} at the end of:\n{self.text}")

    def report(self, count=None, errors=0, sample=False, empty_line_first=True, intended=False):
        """A report of `count` operations; gives its values."""
        if empty_line_first:
            self.take("")
        self.take("Summary:")
        values = {}
        for name in ("Total", "Slowest", "Fastest", "Average", "Stddev"):
            values[name] = float(self.take(rf"  {name}:\t({NUMBER}) secs\.")[1])
        values["rate"] = float(self.take(rf"  Requests/sec:\t({NUMBER})")[1])
        self.take("")
        self.take("Response time histogram:")
        bars = [self.take(rf"  ({NUMBER}) \[(\d+)\]\t\|({BAR}*)") for _ in range(11)]
        counts = [int(b[2]) for b in bars]
        for b in bars:
            expect(len(b[3]) == int(b[2]) * 40 // max(counts), f"the bar of {b[0]!r}")
        bounds = [float(b[1]) for b in bars]
        expect(bounds == sorted(bounds) and bounds[0] == values["Fastest"] and bounds[-1] == values["Slowest"],
               f"bounds {bounds}")
        values["count"] = sum(counts)
        expect(count is None or values["count"] == count, f"{values['count']} operations instead of {count}:\n{self.text}")
        expect(abs(values["rate"] * values["Total"] - values["count"]) <= 0.02 * values["count"] + values["rate"] * 1e-4,
               f"rate and total: {values}")
        self.take("")
        self.take("Latency distribution:")
        self.percentiles()
        if intended and len(self.lines) > 1 and self.lines[1].startswith("Latency distribution from"):
            self.take("")
            self.take("Latency distribution from the intended start:")
            self.percentiles()
        if sample:
            self.take("")
            self.take(r"Sample in one second \(unix latency throughput\):")
            self.take("UNIX-SECOND,MIN-LATENCY-MS,AVG-LATENCY-MS,MAX-LATENCY-MS,AVG-THROUGHPUT")
            duration = r"[\d.]+(?:s|ms|µs|ns)"
            sampled = 0
            while self.lines and self.lines[0]:
                sampled += int(self.take(rf"\d{{10}},{duration},{duration},{duration},(\d+)")[1])
            expect(sampled == values["count"], "the samples' sum")
            self.take("")
        if errors:
            self.take("")
            self.take("Error distribution:")
            expect(int(self.take(r"  \[(\d+)\]\t.+")[1]) == errors, "number of errors")
        return values

    def percentiles(self):
        last = 0.0
        while self.lines and self.lines[0].startswith("  "):
            m = self.take(rf"  (?:10|25|50|75|90|95|99|99\.9)% in ({NUMBER}) secs\.")
            expect(float(m[1]) >= last, "percentiles ascend")
            last = float(m[1])


class Tool:
    def __init__(self, tools, member, flags=()):
        self.path = tools.ours[0].parent / "etcd-benchmark"
        self.member = member
        self.flags = ["--endpoints", member.endpoint, *flags]

    def command(self, *args):
        return [str(self.path), *map(str, self.flags), *map(str, args)]

    def run(self, *args, **kw):
        return run(self.command(*args), **kw)

    def lines(self, *args):
        done = self.run(*args)
        return Lines(done.stdout)


def status(tools, member):
    told = json.loads(tools.etcdctl(member, "endpoint", "status", "-w", "json").stdout)
    return told[0]["Status"]["header"]["revision"]


def keys(tools, member):
    told = tools.etcdctl(member, "get", "", "--from-key", "--count-only", "-w", "fields").stdout
    return int(re.search(r'"Count" : (\d+)', told)[1])


# ---- commands -----------------------------------------------------------------------------------------------

def commands(tools, member):
    tool = Tool(tools, member)
    before = status(tools, member)

    def grows(by, what):
        nonlocal before
        now = status(tools, member)
        expect(now - before == by, f"{what}: the revision grew by {now - before} instead of {by}")
        before = now

    out = tool.lines("put", "--total", 300, "--clients", 7, "--conns", 3, "--sequential-keys", "--key-space-size", 50)
    out.report(300)
    out.take("")
    out.end()
    grows(300, "put")
    expect(keys(tools, member) == 50, "keys of a sequence")

    out = tool.lines("put", "--total", 150, "--rate", 300, "--sample", "--check-hashkv")
    out.report(150, sample=True, intended=True)
    out.take("")
    out.take("HashKV Summary:")
    out.take(r"\tHashKV: \d+")
    out.take(rf"\tEndpoint: {member.endpoint}")
    out.take(r"\tTime taken to get hashkv: [\d.]+(?:s|ms|µs)")
    out.take(r"\tDB size: [\d.]+ (?:B|kB|MB)")
    out.end()
    grows(150, "put --rate")

    tool.run("put", "--total", 60, "--rate", 100, "--compact-interval", "200ms", "--compact-index-delta", 10)
    grows(60, "put --compact-interval")
    old = tools.etcdctl(member, "get", "x", "--rev", before - 60, check=False)
    expect("required revision has been compacted" in old.stderr, f"--compact-interval has not compacted: {old.stderr}")

    for consistency, name in (("l", "linearizable"), ("s", "serializable")):
        out = tool.lines("range", "a", "z", "--total", 100, "--consistency", consistency, "--limit", 3)
        out.take(f"bench with {name} range")
        out.report(100)
        out.end()
    out = tool.lines("range", "", "--total", 5)  # every call fails
    out.take("bench with linearizable range")
    out.take("")
    out.take("Error distribution:")
    out.take(r"  \[5\]\tetcdserver: key is not provided")
    out.end()
    grows(0, "range")

    out = tool.lines("txn-put", "--total", 100, "--txn-ops", 4, "--key-space-size", 20, "--clients", 5)
    out.report(100)
    out.take("")
    out.end()
    grows(100, "txn-put")

    out = tool.lines("txn-mixed", "--total", 200, "--rw-ratio", 3, "--clients", 4)
    out.take("bench with linearizable range")
    reads = int(out.take(r"Total Read Ops: (\d+)")[1])
    out.take("Details:")
    out.report(reads, empty_line_first=False)
    out.take("")
    writes = int(out.take(r"Total Write Ops: (\d+)")[1])
    out.take("Details:")
    out.report(writes, empty_line_first=False)
    out.take("")
    out.end()
    expect(reads + writes == 200 and reads > writes, f"{reads} reads and {writes} writes")
    grows(writes, "txn-mixed")

    for isolation in ("c", "r", "s", "ss"):
        out = tool.lines("stm", "--isolation", isolation, "--keys", 5, "--keys-per-txn", 2, "--total", 60, "--clients", 6)
        out.report(60)
        out.end()
        grows(60, f"stm {isolation}")  # one of two keys is overwritten in each
    tool.lines("stm", "--keys", 3, "--keys-per-txn", 0, "--total", 20).report(20)
    grows(0, "stm of no keys")
    for locker in ("lock-client", "lock-rpc"):
        out = tool.lines("stm", "--stm-locker", locker, "--total", 40, "--clients", 4, "--txn-wr-percent", 100)
        out.report(40)
        out.end()
        left = json.loads(tools.etcdctl(member, "lease", "list", "-w", "json").stdout).get("leases") or []
        expect(not left, f"{locker} left leases: {left}")
        left = tools.etcdctl(member, "get", "--prefix", "stmlock", "--keys-only").stdout
        expect(not left.strip(), f"{locker} left a lock: {left}")
    before = status(tools, member)

    out = tool.lines("lease-keepalive", "--total", 80, "--clients", 3)
    out.report(80)
    out.end()
    grows(0, "lease-keepalive")

    out = tool.lines("watch", "--streams", 4, "--watch-per-stream", 5, "--watched-key-total", 3, "--sequential-keys",
                     "--key-space-size", 3, "--put-total", 30, "--clients", 2)
    out.take("Watch creation summary:")
    out.report(20)
    out.take("Watch events received summary:")
    out.report(10 * 20)  # 20 watchers of 3 keys, each put 10 times
    out.end()
    grows(30, "watch")

    out = tool.lines("watch-get", "--watchers", 60, "--streams", 3, "--events", 4)
    out.take("Get during watch summary:")
    if out.lines:  # none, if all watchers had heard before the first get was answered
        out.report()
    out.end()
    grows(4, "watch-get")

    for command, watchers in (("watch-latency", ["--watchers-per-stream", 4]), ("watch-fanout", ["--watchers", 12])):
        out = tool.lines(command, "--streams", 3, *watchers, "--put-total", 20, "--put-rate", 200, "--prevkv")
        out.take("")
        out.take("Put summary:")
        out.report(20, intended=command == "watch-fanout")
        out.take("")
        out.take("Watch events summary:")
        out.report(20 * 12)
        out.end()
        grows(20, command)

    out = Tool(tools, member, ["--target-leader", "--auto-sync-interval", "50ms"]).lines("put", "--total", 20, "--rate", 100)
    out.report(20, intended=True)
    precise = tool.run("--precise", "put", "--total", 20).stdout
    expect(re.search(r"\n  Total:\t[\d.e-]+ secs\.\n  Slowest:\t[\d.e-]+ secs\.\n", precise), precise)


def json_output(tools, member):
    tool = Tool(tools, member)
    told = json.loads(tool.run("-w", "json", "--sample", "put", "--total", 100, "--rate", 500, "--check-hashkv").stdout)
    expect(told["command"] == "put" and told["interrupted"] is False and told["hashkv"]["db_size"] > 0, told)
    [report] = told["reports"]
    expect(report["requests"] == 100 and sum(b["count"] for b in report["histogram"]) == 100, report)
    expect([p["percent"] for p in report["latency"]] == [10, 25, 50, 75, 90, 95, 99], report)
    expect(len(report["latency_from_intended_start"]) == 7 and report["errors"] == [] and report["exact"], report)
    expect(sum(s["requests"] for s in report["samples"]) == 100, report)
    told = json.loads(tool.run("-w", "json", "txn-mixed", "--total", 50).stdout)
    expect([r["name"] for r in told["reports"]] == ["read", "write"], told)


# ---- endings ------------------------------------------------------------------------------------------------

def one_line(done, code, pattern):
    expect(done.returncode == code, f"exit {done.returncode} instead of {code}: {done.stderr}")
    expect(re.fullmatch(pattern + "\n", done.stderr), f"standard error is {done.stderr!r}, not /{pattern}/")


def endings(tools, member):
    tool = Tool(tools, member)
    for number in (signal.SIGINT, signal.SIGTERM):
        child = subprocess.Popen(tool.command("put", "--total", 10**8), stdout=subprocess.PIPE, stderr=subprocess.PIPE,
                                 text=True, preexec_fn=die_with_parent)
        before = status(tools, member)
        while status(tools, member) < before + 20:
            time.sleep(0.05)
        child.send_signal(number)
        stdout, stderr = child.communicate(timeout=30)
        out = Lines(stdout)
        expect(out.report()["count"] >= 20, stdout)
        expect(child.returncode == -number and stderr == "", f"exit {child.returncode}, {stderr!r}")

    reader, writer = os.pipe()
    os.close(reader)
    done = subprocess.run(tool.command("put", "--total", 5), stdout=writer, stderr=subprocess.PIPE, text=True, check=False)
    os.close(writer)
    one_line(done, -signal.SIGPIPE, "write /dev/stdout: broken pipe")
    with open("/dev/full", "w", encoding="utf-8") as full:
        done = subprocess.run(tool.command("put", "--total", 5), stdout=full, stderr=subprocess.PIPE, text=True, check=False)
    one_line(done, 1, "write /dev/stdout: no space left on device")

    alone = [str(tool.path), "--endpoints"]
    done = run([*alone, f"127.0.0.1:{free_port()}", "put"], check=False)
    one_line(done, 1, "dial error: .*connect: connection refused.*")
    with socket.socket() as mute:
        mute.bind(("127.0.0.1", 0))
        mute.listen()
        done = run([*alone, f"127.0.0.1:{mute.getsockname()[1]}", "--dial-timeout", "500ms", "put"], check=False)
        one_line(done, 1, "dial error: .*")
    one_line(tool.run("--cacert", "/nowhere", "put", check=False), 1, "bad tls config: open /nowhere: no such file or directory")
    one_line(tool.run("--insecure-skip-tls-verify", "put", check=False), 1, "dial error: .*")

    child = subprocess.Popen(tool.command("--stall-timeout", "1s", "put", "--total", 10**8), stdout=subprocess.PIPE,
                             stderr=subprocess.PIPE, text=True, preexec_fn=die_with_parent)
    before = status(tools, member)
    while status(tools, member) < before + 20:
        time.sleep(0.05)
    os.kill(member.pid, signal.SIGSTOP)
    try:
        stdout, stderr = child.communicate(timeout=60)
    finally:
        os.kill(member.pid, signal.SIGCONT)
    expect(Lines(stdout).report()["count"] >= 20, stdout)
    expect(child.returncode == 1 and stderr == "no answer for 1s\n", f"exit {child.returncode}, {stderr!r}")


# ---- TLS and users ------------------------------------------------------------------------------------------

class TlsMember(Member):
    """A member whose clients come by TLS, with certificates of `authority`."""

    def __init__(self, folder, authority):
        pem, key = authority.pair("server", "server", "IP:127.0.0.1")
        super().__init__(folder, ["--cert-file", pem, "--key-file", key, "--trusted-ca-file", authority.path("ca.pem"),
                                  "--client-cert-auth"])
        self.authority = authority
        self.pair = authority.pair("client", "client", "")

    @property
    def url(self):
        return f"https://{self.endpoint}"

    def _get(self, path):
        context = ssl.create_default_context(cafile=self.authority.path("ca.pem"))
        context.load_cert_chain(*self.pair)
        with urllib.request.urlopen(self.url + path, timeout=2, context=context) as r:
            return r.read()


def tls(tools, folder, program):
    authority = Authority(folder / "ca")
    authority.ca("other")
    member = TlsMember(folder / "tls", authority).start(program)
    files = ["--cacert", authority.path("ca.pem"), "--cert", member.pair[0], "--key", member.pair[1]]
    out = Tool(tools, member, files).lines("put", "--total", 50, "--conns", 3, "--clients", 6)
    out.report(50)
    out = Tool(tools, member, [*files, "--target-leader"]).lines("put", "--total", 10)
    out.report(10)
    one_line(Tool(tools, member, ["--cacert", authority.path("other.pem"), *files[2:]]).run("put", check=False), 1,
             "dial error: .*authentication handshake failed: .*certificate signed by unknown authority.*")
    one_line(Tool(tools, member, files[:2]).run("put", check=False), 1, "dial error: .*")
    member.stop()


def users(tools, member):
    for words in (["user", "add", "root:secret"], ["user", "grant-role", "root", "root"], ["auth", "enable"]):
        tools.etcdctl(member, *words)
    tool = Tool(tools, member, ["--user", "root:secret"])
    tool.lines("put", "--total", 30, "--conns", 2, "--clients", 4).report(30)
    one_line(Tool(tools, member, ["--user", "root:wrong"]).run("put", check=False), 1,
             "dial error: etcdserver: authentication failed, invalid user ID or password")
    one_line(Tool(tools, member, ["--user", "root"]).run("put", check=False, stdin=""), 1,
             "bad user information: root there is no terminal to ask for the password")
    out = Tool(tools, member).lines("put", "--total", 4)  # each call fails, which is in the report
    out.take("")
    out.take("Error distribution:")
    out.take(r"  \[4\]\tetcdserver: user name is empty")
    out.take("")
    out.end()
    tools.etcdctl(member, "--user", "root:secret", "auth", "disable")


# ---- h2load -------------------------------------------------------------------------------------------------

def varint(n):
    out = b""
    while n > 127:
        out += bytes([n & 127 | 128])
        n >>= 7
    return out + bytes([n])


def cpu_seconds(pid):
    fields = pathlib.Path(f"/proc/{pid}/stat").read_text(encoding="utf-8").rpartition(")")[2].split()
    return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")


def measured(member, command):
    """Output, CPU seconds of the command and of the member meanwhile."""
    own, members = resource.getrusage(resource.RUSAGE_CHILDREN), cpu_seconds(member.pid)
    done = run(command, timeout=300)
    used = resource.getrusage(resource.RUSAGE_CHILDREN)
    return done.stdout, used.ru_utime + used.ru_stime - own.ru_utime - own.ru_stime, cpu_seconds(member.pid) - members


def h2load(tools, member, folder, long):
    if not shutil.which("h2load"):
        print("h2load is not there (Debian's nghttp2-client): not compared", flush=True)
        return
    total, conns, clients, rounds, value = (50_000, 8, 128, 9, 256) if long else (6000, 8, 128, 3, 256)
    message = b"\x0a\x08" + b"\0" * 8 + b"\x12" + varint(value) + b"v" * value
    body = folder / "put"
    body.write_bytes(b"\0" + struct.pack(">I", len(message)) + message)
    theirs = ["h2load", "-n", total, "-c", conns, "-m", clients // conns, "-d", body, "-H", "content-type: application/grpc",
              "-H", "te: trailers", f"{member.url}/etcdserverpb.KV/Put"]
    ours = Tool(tools, member).command("put", "--total", total, "--conns", conns, "--clients", clients, "--val-size", value)
    rates, costs = {"h2load": [], "ours": []}, {"h2load": [], "ours": []}
    for _ in range(rounds):
        out, tool, server = measured(member, theirs)
        expect(f"{total} done, {total} succeeded" in out, out)
        rates["h2load"].append(float(re.search(r"finished in .*, ([\d.]+) req/s", out)[1]))
        costs["h2load"].append((tool / total * 1e6, server / total * 1e6))
        out, tool, server = measured(member, ours)
        rates["ours"].append(Lines(out).report(total)["rate"])
        costs["ours"].append((tool / total * 1e6, server / total * 1e6))
    rate = {k: statistics.median(v) for k, v in rates.items()}
    cost = {k: [statistics.median(x) for x in zip(*v)] for k, v in costs.items()}
    for k in ("h2load", "ours"):
        print(f"{k:<8}{rate[k]:10.0f} Put/s   CPU of a Put: tool {cost[k][0]:6.1f} us, member {cost[k][1]:6.1f} us", flush=True)
    # Of neighbours in time: what else the machine does changes from round to round.
    ratio = statistics.median(o / h for o, h in zip(rates["ours"], rates["h2load"]))
    share = cost["ours"][0] / sum(cost["h2load"])
    print(f"our rate / h2load's, round by round: {ratio:.2f}; CPU of our tool / (h2load + member): {share:.2f}", flush=True)
    share_max = 0.5 if long else 0.75
    expect(not long or 0.9 <= ratio <= 1.1, f"the rates differ: {rates}")
    expect(share <= share_max, f"a Put costs too much: {costs}")


def main(tools, args, folder):
    tools.built("oracle-3.6")
    if not (tools.ours[0].parent / "etcd-benchmark").exists():
        raise Skip("etcd-benchmark is not built")
    for name, program in (("quoin", tools.ours), ("3.6", tools.real)):
        member = Member(folder / name).start(program)
        commands(tools, member)
        print(f"{name}: commands", flush=True)
        json_output(tools, member)
        endings(tools, member)
        print(f"{name}: json, endings", flush=True)
        users(tools, member)
        tls(tools, folder / name, program)
        print(f"{name}: users, TLS", flush=True)
        if program == tools.ours:
            h2load(tools, member, folder, args.long)
        member.stop()


drive(main, __doc__)
