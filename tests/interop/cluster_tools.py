#!/usr/bin/env python3
"""The tools for clusters find what they are for, on three real members: a cut link stops writes, in both kinds of network;
a disk that hangs does; a client's lost write, a spoilt database, a strange message and an alarm each make the check fail
that is there for it."""

import pathlib
import sys
import time
import urllib.request

sys.path.insert(0, str(pathlib.Path(__file__).resolve().parent.parent / "lib"))
import cluster as clusters  # noqa: E402
import network as networks  # noqa: E402
from members import Failure, drive, expect, run  # noqa: E402


def fails(label, check, text):
    """The check must fail, and say `text`."""
    try:
        check()
    except Failure as why:
        expect(text in str(why), f"{label}: failed with another reason: {why}")
        print(f"{label}: found", flush=True)
        return
    raise Failure(f"{label}: not found")


def cut_links(cluster):
    """Without what it hears from others, a leader acknowledges nothing; with one of them, it does."""
    leader = cluster.wait_leader()
    one, two = [n for n in cluster.nodes if n is not leader]
    cluster.network.cut(one, leader)
    expect(cluster.ctl.call("put", leader, 3, Key="a", Value="x")["code"] == "OK", "one link in one direction stopped the leader")
    cluster.network.cut(two, leader)
    expect(cluster.ctl.call("put", leader, 0.7, Key="a", Value="x")["code"] != "OK", "a deaf leader acknowledged a write")
    cluster.network.heal_all()
    cluster.wait_leader()
    cluster.call("put", key="a", value="y")
    cluster.wait_in_sync()
    print(f"links cut by {cluster.network.name}: they are", flush=True)


def stuck_disks(cluster):
    followers = cluster.followers()
    for n in followers:
        n.stick_disk()
    expect(cluster.ctl.call("put", cluster.leader(), 1, Key="a", Value="x")["code"] != "OK", "a write was acknowledged with one disk of three")
    for n in followers:
        n.release_disk()
    cluster.call("put", key="a", value="x")
    cluster.wait_in_sync()
    print("disks that hang: they do", flush=True)


def checks(cluster, tools):
    load = clusters.Load(cluster, leases=0).run()
    load.fill(100)
    cluster.check_end(load)

    # A message of no kind.
    node = cluster.followers()[0]
    cluster_id = node.status()["cluster"]
    request = urllib.request.Request(node.peer_listen + "/raft", data=b"\xff\xff\xff", method="POST", headers={
        "X-Etcd-Cluster-ID": cluster_id, "X-Server-From": cluster.leader().id, "X-Server-Version": "3.6.0",
        "X-Min-Cluster-Version": "3.0.0"})
    try:
        urllib.request.urlopen(request, timeout=5).close()
    except OSError:
        pass
    fails("a strange message", cluster.check_logs, "failed to unmarshal")

    # A write that is acknowledged and then gone: all members go back to what they had.
    load.run()
    load.fill(50)
    load.pause()
    cluster.stop()
    for n in cluster.nodes:
        run(["cp", "-r", n.data, f"{n.data}-old"])
        n.start()
    cluster.wait_ready()
    load.run()
    load.fill(50)
    load.pause()
    for n in cluster.nodes:
        n.kill()
        run(["rm", "-r", n.data])
        run(["mv", f"{n.data}-old", n.data])
        n.start()
    cluster.wait_ready()
    # The watches are ahead of the store now, and would wait for it.
    load.run()
    load.fill(200)
    fails("lost writes", load.check, "cluster:")

    # A value that differs in one database.
    cluster.ctl.must("puts", cluster.wait_leader(), 30, Key="h", Count=20, Size=100)
    cluster.wait_in_sync()
    node = cluster.followers()[0]
    node.stop()
    run([tools.oracle, "bbolt-spoil", node.database])
    node.start(wait=True)
    fails("a spoilt database", lambda: cluster.check_hashes(), "differs")
    cluster.ctl.must("alarm", cluster.wait_leader(), Action="ACTIVATE", ID=cluster.nodes[0].id, Alarm="NOSPACE")
    fails("an alarm", cluster.check_members, "alarms")


def main(tools, args, folder):
    for kind in ("proxies", "namespaces"):
        try:
            net = networks.make(kind, tools)
        except networks.Skip as why:
            print(f"{kind}: SKIPPED, {why}")
            continue
        cluster = clusters.Cluster(tools, folder / kind, ["3.6"] * 3, net, slow_disks=kind == "proxies").found()
        cut_links(cluster)
        if kind == "proxies":
            stuck_disks(cluster)
            time.sleep(1)
            checks(cluster, tools)
        cluster.close()


networks.prepare()
drive(main, __doc__, lambda p: networks.add_argument(p), needs=("interop", "oracle-3.6"))
