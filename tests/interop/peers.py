#!/usr/bin/env python3
"""The peer transport with real members of 3.5, 3.6 and 3.7: a member made of consensus and the transport alone
(peer_member) joins a real one.

- it is a learner, catches up by a database the real one sends (its own checker passes it), then by appends on streams
- it is promoted; nothing commits without its answers
- it leads: votes, appends, forwarded proposals and read indexes go the other way, with large values
- the real one takes a database from it, then leads again, and has not logged an error about anything it was sent
- every refusal of /raft/... is the same on both sides: status, fields and body
"""

import json
import pathlib
import re
import socket
import sys
import time

sys.path.insert(0, str(pathlib.Path(__file__).resolve().parent.parent / "lib"))
from members import Conversation, Failure, Member, Skip, drive, expect, free_port, run  # noqa: E402

SELF_WAIT = 30


class PeerMember(Conversation):
    def __init__(self, program, self_id, cluster_id, port, folder):
        folder.mkdir()
        super().__init__([program, self_id, cluster_id, port, folder])
        self.id, self.port = self_id, port

    def status(self):
        return dict(word.split("=", 1) for word in self.ask("status"))

    def until(self, what, holds):
        deadline = time.monotonic() + SELF_WAIT
        while time.monotonic() < deadline:
            status = self.status()
            if holds(status):
                return status
            time.sleep(0.05)
        raise Failure(f"{what}: {self.status()}")


def ctl(tools, member, *args, **kw):
    return run([tools.oracle, "etcdctl", "--endpoints", member.endpoint, *args], **kw)


def put(tools, member, key, value):
    ctl(tools, member, "put", key, stdin=value)  # values are too long for an argument


def answer_of(port, request, seconds=8):
    """Everything a peer port sends back for these bytes until it closes or is silent."""
    with socket.create_connection(("127.0.0.1", port), timeout=5) as s:
        s.sendall(request)
        s.settimeout(seconds)
        got = b""
        try:
            while True:
                piece = s.recv(65536)
                if not piece:
                    return got + b"<end>"
                got += piece
                head, _, body = got.partition(b"\r\n\r\n")
                length = re.search(rb"(?i)content-length: (\d+)", head)
                if length and len(body) >= int(length.group(1)):
                    return got
                if head.startswith(b"HTTP/1.1 204") or (request.startswith(b"HEAD") and b"\r\n\r\n" in got):
                    return got
        except ConnectionResetError:
            return got + b"<end>"  # how Go ends it depends on who is faster
        except socket.timeout:
            return got


def normal(answer, ids):
    """Status, fields in any order, body; what must differ is made equal."""
    head, _, body = answer.partition(b"\r\n\r\n")
    lines = head.decode().split("\r\n")
    fields = sorted(line for line in lines[1:] if not line.startswith("Date:"))
    fields = [re.sub(r"X-Server-Version: 3\.\d+\.\d+", "X-Server-Version: V", f) for f in fields]
    text = body.decode("latin-1")
    if '"Now":' in text:  # as long as its fraction
        text = re.sub(r'"Now":"[^"]+"', '"Now":"T"', text)
        fields = [f for f in fields if not f.startswith("Content-Length:")]
    for old, new in ids:
        text = text.replace(old, new)
        fields = [f.replace(old, new) for f in fields]
    return lines[0], fields, text


def compare_endpoints(member, ours, real_id, cluster, own_id, version):
    """The same requests to the real member and to ours; each is made for the one it goes to."""
    def head(method, path, to, version="3.6.14", minimum="3.0.0", cid=cluster, more=()):
        fields = ["Host: x", "X-Server-From: " + own_id]
        if version is not None:
            fields.append("X-Server-Version: " + version)
        if minimum is not None:
            fields.append("X-Min-Cluster-Version: " + minimum)
        if cid is not None:
            fields.append("X-Etcd-Cluster-ID: " + cid)
        if to is not None:
            fields.append("X-Raft-To: " + to)
        return ("\r\n".join([f"{method} {path} HTTP/1.1", *fields, *more]) + "\r\n\r\n").encode()

    def post(path, to, body, **kw):
        return head("POST", path, to, more=[f"Content-Length: {len(body)}"], **kw) + body

    def varint(n):
        out = b""
        while n >= 0x80:
            out += bytes([n & 0x7f | 0x80])
            n >>= 7
        return out + bytes([n])

    def message(kind, to, sender):
        return b"\x08" + bytes([kind]) + b"\x10" + varint(to) + b"\x18" + varint(sender) + b"\x20\x01"

    def framed(body):
        return len(body).to_bytes(8, "big") + body

    stranger = "5" * 16
    cases = {}
    for kind in ("msgapp", "message"):
        path = f"/raft/stream/{kind}/"
        cases.update({
            f"{kind}: POST": lambda me, p=path: head("POST", p + stranger, me),
            f"{kind}: HEAD": lambda me, p=path: head("HEAD", p + stranger, me),
            f"{kind}: no version": lambda me, p=path: head("GET", p + stranger, me, version=None, minimum=None),
            f"{kind}: too old": lambda me, p=path: head("GET", p + stranger, me, version="2.3.8"),
            f"{kind}: too new": lambda me, p=path: head("GET", p + stranger, me, version="4.1.0", minimum="4.0.0"),
            f"{kind}: bad version": lambda me, p=path: head("GET", p + stranger, me, version="3.6"),
            f"{kind}: bad minimum": lambda me, p=path: head("GET", p + stranger, me, minimum="x.y.z"),
            f"{kind}: prerelease": lambda me, p=path: head("GET", p + stranger, me, version="3.7.0-rc.0+x"),
            f"{kind}: other cluster": lambda me, p=path: head("GET", p + stranger, me, cid="1"),
            f"{kind}: no cluster": lambda me, p=path: head("GET", p + stranger, me, cid=None),
            f"{kind}: stranger": lambda me, p=path: head("GET", p + stranger, me),
            f"{kind}: bad id": lambda me, p=path: head("GET", p + "xyz", me),
            f"{kind}: long id": lambda me, p=path: head("GET", p + "1" * 17, me),
            f"{kind}: no id": lambda me, p=path: head("GET", p, me),
            f"{kind}: deeper": lambda me, p=path: head("GET", p + "1/2", me),
        })
    cases.update({
        "other stream": lambda me: head("GET", "/raft/stream/snap/" + stranger, me),
        "streams": lambda me: head("GET", "/raft/stream/", me),
        "stream": lambda me: head("GET", "/raft/stream", me),
        "stream with a query": lambda me: head("GET", "/raft/stream?a=b&c", me),
        "stream, POST": lambda me: post("/raft/stream", me, b""),
        "raft: GET": lambda me: head("GET", "/raft", me),
        "raft: PUT": lambda me: head("PUT", "/raft", me),
        "raft: other cluster": lambda me: post("/raft", me, b"", cid="1"),
        "raft: no version": lambda me: post("/raft", me, b"x", version=None, minimum=None),
        "raft: bad version": lambda me: post("/raft", me, b"x", version="three"),
        "raft: garbage": lambda me: post("/raft", me, b"\xff\xff\xff"),
        "raft: truncated field": lambda me: post("/raft", me, b"\x08\x03\x3a\x05\x08"),
        "raft: wrong receiver": lambda me: post("/raft", me, message(8, 77, int(stranger, 16))),
        "raft: a heartbeat's answer": lambda me: post("/raft", me, message(9, int(me, 16), int(stranger, 16))),
        "snapshot: GET": lambda me: head("GET", "/raft/snapshot", me),
        "snapshot: other cluster": lambda me: post("/raft/snapshot", me, b"", cid="1"),
        "snapshot: nothing": lambda me: post("/raft/snapshot", me, b""),
        "snapshot: half a length": lambda me: post("/raft/snapshot", me, b"\0\0\0"),
        "snapshot: only a length": lambda me: post("/raft/snapshot", me, (9).to_bytes(8, "big")),
        "snapshot: half a message": lambda me: post("/raft/snapshot", me, (9).to_bytes(8, "big") + b"\x08"),
        "snapshot: other type": lambda me: post("/raft/snapshot", me, framed(message(8, int(me, 16), 1))),
        "probing": lambda me: head("GET", "/raft/probing", me),
        "probing: POST": lambda me: post("/raft/probing", me, b"x"),
    })
    if version != "3.5":  # its limit is a tebibyte, which it allocates
        cases["snapshot: long message"] = lambda me: post("/raft/snapshot", me, (65 << 20).to_bytes(8, "big") + b"\x08")
    differ = []
    for name, request in cases.items():
        theirs = answer_of(member.peer_port, request(real_id))
        mine = answer_of(ours.port, request(own_id))
        ids = [(real_id, "ID"), (own_id, "ID"), (str(member.peer_port), "PORT"), (str(ours.port), "PORT")]
        if normal(theirs, ids) != normal(mine, ids):
            differ.append(f"{name}\n   real {normal(theirs, ids)}\n   ours {normal(mine, ids)}")
    expect(not differ, f"{version}: these answers differ:\n" + "\n".join(differ))
    print(f"{version}: {len(cases)} requests are answered alike")


def one_version(tools, args, folder, version, program, flags):
    member = Member(folder / f"real-{version}", flags=["--snapshot-count", "20", *flags])
    member.start(program)
    for i in range(60):
        put(tools, member, f"key{i}", "x" * 100)

    # ---- a learner that catches up by a database ----
    port = free_port()
    added = json.loads(ctl(tools, member, "member", "add", "ours", "--learner", f"--peer-urls=http://127.0.0.1:{port}",
                           "-w", "json").stdout)
    cluster = format(added["header"]["cluster_id"], "x")
    real_id = format(added["header"]["member_id"], "x")
    own_id = format(added["member"]["ID"], "x")
    ours = PeerMember(args.peer_member, own_id, cluster, port, folder / f"ours-{version}")
    ours.ask(f"add {real_id} http://127.0.0.1:{member.peer_port}")
    status = ours.until("no database came", lambda s: int(s["snapshot"]) > 0 and s["active"] == real_id)
    kept = ours.ask("kept")[0]
    expect("OK" in run([tools.oracle, "bbolt-check", kept]).stdout, "the database that came is damaged")

    # ---- appends on the streams, small and large ----
    def index():
        return int(json.loads(ctl(tools, member, "endpoint", "status", "-w", "json").stdout)[0]["Status"]["raftIndex"])
    for i in range(20):
        put(tools, member, f"key{i}", "y" * (100 if i % 5 else 500_000))
    want = index()
    ours.until("appends do not come", lambda s: int(s["commit"]) >= want)
    expect(int(ours.status()["snapshot"]) == int(status["snapshot"]), "what appends bring came as a database again")

    # ---- a voter without whom nothing commits ----
    for _ in range(100):
        if ctl(tools, member, "member", "promote", own_id, check=False).returncode == 0:
            break
        time.sleep(0.1)
    put(tools, member, "both", "1")

    # ---- a leader ----
    ctl(tools, member, "move-leader", own_id)
    ours.until("it does not lead", lambda s: s["lead"] == own_id)
    for i in range(20):
        put(tools, member, f"led{i}", "z" * (50 if i % 4 else 300_000))
    got = ctl(tools, member, "get", "led8", "--print-value-only").stdout.strip()
    expect(got == "z" * 300_000, "a value that was written through our leader is not there")
    ours.until("commit lags", lambda s: s["commit"] == s["last"])
    probe = ours.ask(f"fetch http://127.0.0.1:{member.peer_port} /raft/probing")
    expect(probe[0] == "200" and '"OK":true' in probe[1], f"probing says {probe}")

    # ---- a database the other way: an old one, which raft ignores and the member takes all the same ----
    expect(ours.ask(f"send {real_id} {kept} 3") == ["sent"], "the real member refused our database")
    saved = member.data / "member" / "snap" / f"{3:016x}.snap.db"
    # 3.6 and later remove old databases after a while; here it is still there, byte for byte.
    expect(not saved.exists() or saved.read_bytes() == pathlib.Path(kept).read_bytes(), "the database came out different")

    ours.ask(f"transfer {real_id}")
    ours.until("it did not hand over", lambda s: s["lead"] == real_id)
    put(tools, member, "after", "1")
    ours.until("both streams are there", lambda s: s["active"] == real_id)

    # ---- what the real one thought of it ----
    log = member.log.read_text(errors="replace")
    expect(f'"peer-id":"{own_id}"' in log, "the real member never called ours active")
    bad = [line for line in log.splitlines()
           if re.search(r"panic|failed to (unmarshal|decode|parse)|unsupported stream|error limit exceeded", line)
           and "/version" not in line]  # which ours does not serve
    expect(not bad, "the real member complains:\n" + "\n".join(bad[:5]))
    expect(ours.ask("log panic") == ["0"], "ours complains")
    ours.ask("log warn peer became inactive")

    compare_endpoints(member, ours, real_id, cluster, own_id, version)
    put(tools, member, "end", "1")
    ours.close()
    member.kill()  # it waits for a leader that is gone
    print(f"{version}: learner by database, voter, leader and back")


def main(tools, args, folder):
    programs = {"3.6": (tools.real, ["--snapshot-catchup-entries", "5"])}
    for version, name in (("3.5", "real35"), ("3.7", "real37")):
        flag = "--experimental-snapshot-catchup-entries" if version == "3.5" else "--snapshot-catchup-entries"
        try:
            programs[version] = (getattr(tools, name), [flag, "5"])
        except Skip as why:
            print(why)
    for version, (program, flags) in sorted(programs.items()):
        if not args.version or version in args.version:
            one_version(tools, args, folder, version, program, flags)


def arguments(parser):
    parser.add_argument("--peer-member", type=pathlib.Path, help="default: peer_member beside the program under test")
    parser.add_argument("--version", action="append", help="only this one: 3.5, 3.6, 3.7")


def begin(tools, args, folder):
    args.peer_member = args.peer_member or pathlib.Path(args.etcd).resolve().parent / "peer_member"
    main(tools, args, folder)


if __name__ == "__main__":
    drive(begin, __doc__, arguments, needs=["oracle-3.6"])
