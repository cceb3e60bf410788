#!/usr/bin/env python3
"""The disk of one member hangs (every sync waits) under load. On the leader, clients of the other members lose two
election timeouts of writes at most, and no lease; on a follower, they lose nothing. Clients of the member itself get
errors in time, or an answer. Afterwards it is in sync again. (--measure prints what happens, and judges only that
nothing is lost.)"""

import pathlib
import sys
import threading
import time

sys.path.insert(0, str(pathlib.Path(__file__).resolve().parent.parent / "lib"))
import cluster as clusters  # noqa: E402
import network as networks  # noqa: E402
from members import drive, expect  # noqa: E402


class OwnClient(threading.Thread):
    """Writes at the member with the stuck disk, with a client of its own, and keeps what it is answered."""

    def __init__(self, tools, node):
        super().__init__(daemon=True)
        self.ctl = clusters.Ctl(tools)
        self.node = node
        self.answers = []
        self.ends = threading.Event()

    def run(self):
        while not self.ends.is_set():
            began = time.monotonic()
            a = self.ctl.call("put", self.node, 20, key="d/own", value="x")
            self.answers.append((a["code"] if a["code"] == "OK" else f"{a['code']}: {a['message']}", time.monotonic() - began))
            time.sleep(0.1)

    def close(self):
        self.ends.set()
        self.join(30)
        self.ctl.close()


def hang(cluster, load, tools, victim, seconds, args, role):
    others = [n for n in cluster.nodes if n is not victim]
    load.ask("endpoints " + ",".join(n.endpoint for n in others))
    load.stats()
    ttl = int(max(5, 5 * cluster.election))
    lease = cluster.ctl.must("grant", others[0], TTL=ttl)["lease"]
    cluster.ctl.must("put", others[0], key=f"d/lease-{lease}", value="x", lease=lease)
    load.fill(100)
    own = OwnClient(tools, victim)
    load.mark()
    began = time.monotonic()
    victim.stick_disk()
    own.start()
    kept, first_lead = 0, None
    while time.monotonic() - began < seconds:
        if cluster.ctl.call("keepalive", others[kept % 2], 2, Lease=lease).get("ttl", 0) > 0:
            kept += 1
        if first_lead is None and role == "leader" and any(n.is_leader() for n in others):
            first_lead = time.monotonic() - began
        time.sleep(0.2)
    blocked = cluster.ctl.call("get", others[0], 2, key=f"d/lease-{lease}")
    victim.release_disk()
    longest, usual = load.outage()
    stats = load.stats()
    own.close()
    sync = cluster.wait_in_sync()
    kinds = {}
    for text, took in own.answers:
        n, most = kinds.get(text, (0, 0))
        kinds[text] = (n + 1, max(most, took))
    answers = "; ".join(f"{n} x {text} (at most {most:.1f} s)" for text, (n, most) in kinds.items())
    leader = f"another led after {first_lead:.2f} s" if first_lead else "no other took the lead" if role == "leader" else "-"
    print(f"{role} {victim}: disk hung {seconds} s; {longest:.2f} s without a write at the others ({longest / cluster.election:.2f} "
          f"election timeouts), median write {usual * 1000:.1f} ms; {leader}; {kept} renewals; {stats}; in sync {sync:.2f} s after; "
          f"its own clients: {answers}", flush=True)
    if args.measure:
        return
    expect(blocked["code"] == "OK" and blocked["count"] == 1, f"the lease's key: {blocked}")
    expect(longest <= (2 if role == "leader" else 0.5) * cluster.election,
           f"{longest:.2f} s without a write at the other members while the {role}'s disk hung")
    expect(stats["lost"] == 0, f"{stats['lost']} requests failed though their clients retried")
    expect(max(t for _, t in own.answers[:-1] or own.answers) <= 15, f"a client of {victim} waited: {answers}")


def main(tools, args, folder):
    seed = clusters.seed_of(args)
    cluster = clusters.Cluster(tools, folder, clusters.kinds_of(args), networks.make(args.network, tools),
                               {"snapshot-count": 2000}, slow_disks=True).found()
    load = clusters.Load(cluster, seed, attempt="400ms", request="60s").run()
    seconds = args.seconds or (30 if args.long else 6)
    for i in range(args.rounds or (5 if args.long else 1)):
        victims = [n for n in cluster.nodes if n.kind == args.victim] or cluster.nodes
        leader = cluster.wait_leader()
        follower = next((n for n in victims if n is not leader), None)
        if follower:
            hang(cluster, load, tools, follower, seconds, args, "follower")
        leader = cluster.lead(victims[i % len(victims)])
        hang(cluster, load, tools, leader, seconds, args, "leader")
        load.follow()
        print(f"checked: {cluster.check_end(load)}", flush=True)
        load.run()
    load.pause()
    cluster.stop()
    cluster.close()


def arguments(parser):
    clusters.add_arguments(parser, network="plain")
    parser.add_argument("--victim", default="quoin", help="the kind of member whose disk hangs (any, if there is none)")
    parser.add_argument("--seconds", type=float, help="how long it hangs (6; long: 30)")
    parser.add_argument("--rounds", type=int, help="(1; long: 5)")
    parser.add_argument("--measure", action="store_true", help="print what happens, for members of others")


drive(main, __doc__, arguments, needs=("interop", "oracle-3.6"))
