"""Joining with wrong arguments, --force-new-cluster, restores, and the procedures of the runbook."""

import shutil
import time

from case import case, clusters
from members import free_port, run


def settle(seconds=5.5):
    time.sleep(seconds)


@case
def join_as_new(t):
    """A member that was added starts with --initial-cluster-state new: another cluster; both sides say so, no data is mixed."""
    c = t.settled_cluster(3)
    c.call("put", key="ours", value="x")
    node = c.add(t.subject, start=False)
    node.state = "new"
    node.start()
    time.sleep(6)
    t.note("it", "runs" if node.running else "ends")
    texts = ("cluster ID mismatch", "request cluster ID mismatch", "request sent was ignored by remote peer due to cluster ID mismatch")
    t.note("it or they tell of the mismatch", any(n.log_has(x) for n in c.nodes for x in texts))
    t.lists("members", clusters_without(c, node))
    if node.running:
        t.call("its data", c, "get", node, 3, Key="ours", Serial=True)
    c.ctl.must("get", c.wait_leader(), Key="ours")


def clusters_without(c, node):
    if node in c.nodes:
        c.nodes.remove(node)
    return c


@case
def join_with_one_missing(t):
    """--initial-cluster lacks a member: the newcomer ends and says why."""
    c = t.settled_cluster(3)
    node = c.add(t.subject, start=False)
    node.initial = ",".join(p for p in node.initial.split(",") if not p.startswith("m2="))
    node.start()
    t.ended("it", node)
    t.logged("it says", node, "member count is unequal", "unmatched member while checking PeerURLs")
    t.lists("members", clusters_without(c, node))


@case
def join_by_host_name(t):
    """--initial-cluster says localhost where the cluster has addresses. Names are resolved before they are compared, but this
    one is not."""
    c = t.settled_cluster(3)
    node = c.add(t.subject, start=False)
    node.initial = node.initial.replace("127.0.0.1", "localhost").replace(f"{node.name}=http://localhost", f"{node.name}=http://127.0.0.1")
    node.start()
    t.ended("it", node, 6)
    t.logged("it says", node, "error validating peerURLs", "unmatched member while checking PeerURLs")


@case
def join_with_another_token(t):
    """The token does not matter to who joins."""
    c = t.settled_cluster(3)
    node = c.add(t.subject, start=False)
    node.start(extra=["--initial-cluster-token", "another"])
    node.wait_ready()
    c.wait_in_sync()
    t.lists("members", c)


@case
def join_with_an_empty_directory_again(t):
    """A member loses its directory and joins with the same arguments: its log is shorter than it acknowledged."""
    c = t.settled_cluster(3)
    node = c.add(t.subject)
    c.ctl.must("puts", c.wait_leader(), 30, Key="k", Count=100, Size=10)
    c.wait_in_sync()
    node.kill()
    shutil.rmtree(node.data)
    node.start()
    t.ended("it", node, 10)
    t.logged("it says", node, "tocommit(", "out of range")
    c.nodes.remove(node)
    c.call("put", key="k", value="x")


@case
def removed_member_returns(t):
    """The directory of a removed member starts again: it hears that it was removed, says so and ends."""
    t.names = False
    c = t.settled_cluster(3)
    victim = c.followers()[0]
    victim.status()
    victim.stop()
    settle(1)
    c.remove(victim)
    victim.start()
    t.ended("it", victim, how=False)
    t.logged("it says", victim, "the member has been permanently removed from the cluster")
    t.lists("members", c)


@case
def peer_urls_in_use(t):
    """URLs that another member has; the same place by another name is not the same."""
    c = t.settled_cluster(3)
    leader = c.wait_leader()
    other = c.followers()[0]
    other.status()
    leader.status()
    t.call("add with a URL in use", c, "add", leader, URLs=[other.peer_url])
    t.call("add with a URL in use and a new one", c, "add", leader, URLs=["http://127.0.0.1:5", other.peer_url])
    t.call("add without a URL", c, "add", leader, URLs=[])
    t.call("add with what is no URL", c, "add", leader, URLs=["127.0.0.1:5"])
    t.call("update to a URL in use", c, "update", leader, ID=leader.id, URLs=[other.peer_url])
    t.call("update an unknown member", c, "update", leader, ID="123", URLs=["http://127.0.0.1:5"])
    t.call("update to what it has", c, "update", leader, ID=leader.id, URLs=[leader.peer_url])
    added = t.call("add by another name of a place", c, "add", leader, URLs=[other.peer_url.replace("127.0.0.1", "localhost")])
    if added["code"] == "OK":
        t.call("and remove it", c, "remove", leader, ID=added["id"])
    t.lists("members", c)


@case
def update_to_what_is_no_url(t):
    """A peer URL without a scheme: real members take it, and those who apply it panic."""
    c = t.settled_cluster(3)
    leader = c.wait_leader()
    leader.status()
    t.call("update", c, "update", leader, ID=leader.id, URLs=["x"])
    time.sleep(1.5)
    t.note("the leader then", "runs" if leader.running else "has ended")
    t.note("followers then", sorted("runs" if n.running else "has ended" for n in c.nodes if n is not leader))


@case
def force_new_cluster(t):
    """A member alone goes on with the data: after a learner and a removed member, and the one that joins it restarts."""
    c = t.settled_cluster(3)
    c.call("put", key="kept", value="x")
    c.add(t.subject, learner=True)
    settle()
    fifth = c.add(t.subject)
    settle()
    c.remove(fifth)
    c.wait_in_sync()
    first = c.nodes[0]
    for n in c.nodes:
        n.kill()
    alone(t, c, first, "after a learner and a removed member")


def alone(t, c, node, label):
    c.nodes = [node]
    node.start(extra=["--force-new-cluster"])
    node.wait_ready()
    t.list(f"{label}: with the flag", c, node)
    t.note(f"{label}: the data is there", c.ctl.must("get", node, Key="kept")["count"])
    node.restart(wait=True)
    t.list(f"{label}: without it", c, node)
    second = c.add(t.subject)
    c.ctl.must("puts", node, 30, Key="k", Count=30, Size=10)
    second.restart(wait=True)
    c.wait_in_sync()
    t.lists(f"{label}: one has joined, and restarted", c)
    c.check_hashes()


@case
def force_new_cluster_with_uncommitted_changes(t):
    """The log of the member ends with changes of members that nobody committed."""
    t.names = False
    c = t.settled_cluster(3, options={"strict-reconfig-check": "false"})
    c.call("put", key="kept", value="x")
    c.wait_in_sync()
    leader = c.wait_leader()
    for n in c.followers():
        n.kill()
    for i in range(2):
        t.call(f"add {i + 1}, without a majority", c, "add", leader, 1.5, URLs=[f"http://127.0.0.1:{i + 1}"])
    for n in c.live:
        n.kill()
    alone(t, c, leader, "uncommitted changes")


@case
def force_new_cluster_on_a_learner(t):
    """The directory of a learner becomes a cluster of one voter."""
    c = t.settled_cluster(3)
    c.call("put", key="kept", value="x")
    learner = c.add(t.subject, learner=True)
    c.wait_in_sync()
    for n in c.nodes:
        n.kill()
    learner.start(extra=["--force-new-cluster"])
    if t.ended("it", learner, 6):
        return
    learner.kill()
    alone(t, c, learner, "a learner")


@case
def restore_of_one_and_join(t):
    """A single member from a snapshot of a cluster; a second joins and restarts."""
    c = t.settled_cluster(3)
    c.ctl.must("puts", c.wait_leader(), 30, Key="k", Count=100, Size=10)
    c.call("put", key="kept", value="x")
    saved = t.folder / "saved.db"
    run([t.tools.oracle, "etcdctl", "--endpoints", c.nodes[0].endpoint, "snapshot", "save", saved])
    c.stop()
    one = t.cluster(1, found=False, kinds=[t.subject])
    restore(t, one, saved)
    one.found()
    t.list("restored", one)
    t.note("the data is there", one.call("get", key="kept")["count"])
    settle()
    second = one.add(t.subject)
    one.ctl.must("puts", one.wait_leader(), 30, Key="k", Count=30, Size=10)
    second.restart(wait=True)
    one.wait_in_sync()
    t.lists("a second joined and restarted", one)
    one.check_hashes()


def restore(t, c, saved):
    for n in c.nodes:
        run([t.tools.oracle, "etcdutl", "snapshot", "restore", saved, "--data-dir", n.data, "--name", n.name,
             "--initial-cluster", c.initial_cluster(), "--initial-advertise-peer-urls", n.peer_url,
             "--initial-cluster-token", "quoin-tests"])


@case
def runbook_restore_of_all(t):
    """Runbook 3.3, way 1: a majority is lost; all are restored from one snapshot."""
    c = t.cluster(3)
    c.ctl.must("puts", c.wait_leader(), 30, Key="k", Count=100, Size=10)
    saved = t.folder / "saved.db"
    run([t.tools.oracle, "etcdctl", "--endpoints", c.nodes[0].endpoint, "snapshot", "save", saved])
    c.nodes[0].kill()
    c.nodes[1].kill()
    t.call("a put without a majority", c, "put", c.nodes[2], 2, Key="x", Value="x")
    c.stop()
    new = t.cluster(3, found=False)
    restore(t, new, saved)
    new.found()
    new.wait_in_sync()
    t.lists("members", new)
    t.note("keys", new.call("get", Key="k/", End="k0")["count"])
    new.call("put", key="after", value="x")
    new.check_hashes()


@case
def runbook_scale_out_and_in(t):
    """Runbook 1.2, 1.3, 1.4, 2.1, 2.2: from 3 to 5 by learners, checks after each step, and back to 3."""
    c = t.settled_cluster(3)
    for i in range(2):
        node = c.add(t.kinds[(i + 1) % len(t.kinds)], learner=True)
        c.wait_in_sync()
        c.promote(node)
        t.lists(f"to {4 + i}", c)
        settle()
        etcdctl_health(t, c)
    for node in list(c.nodes)[3:]:
        c.remove(node)
        t.lists(f"to {len(c.nodes)}", c)
    etcdctl_health(t, c)
    c.check_hashes()


def etcdctl_health(t, c):
    done = run([t.tools.oracle, "etcdctl", "--endpoints", c.nodes[0].endpoint, "endpoint", "health", "--cluster"], check=False)
    healthy = sum("is healthy" in line for line in (done.stdout + done.stderr).splitlines())
    t.note("etcdctl endpoint health --cluster", f"{healthy} healthy, exit {done.returncode}")


@case
def runbook_replace_a_member(t):
    """Runbook 3.2: a member that is lost for good is removed, and a new one takes its place."""
    t.names = False
    c = t.settled_cluster(3)
    c.ctl.must("puts", c.wait_leader(), 30, Key="k", Count=100, Size=10)
    lost = c.followers()[0]
    lost.status()
    lost.kill()
    settle(1)
    c.remove(lost)
    t.lists("the lost one removed", c)
    c.add(lost.kind)
    c.wait_in_sync()
    t.lists("a new one joined", c)
    etcdctl_health(t, c)
    c.check_hashes()


@case
def runbook_update_of_peer_urls(t):
    """Runbook 1.5: a member moves to another peer URL, is restarted there, and goes on."""
    c = t.settled_cluster(3)
    node = c.followers()[0]
    node.status()
    node.peer_port = free_port()
    new = f"http://127.0.0.1:{node.peer_port}"
    t.call("member update", c, "update", c.wait_leader(), ID=node.id, URLs=[new])
    node.stop()
    node.peer_url = node.peer_listen = new
    c.ctl.must("puts", c.wait_leader(), 30, Key="k", Count=50, Size=10)
    node.initial = c.initial_cluster()
    node.start(wait=True)
    c.wait_in_sync()
    t.note("its URL", [m["peer_urls"] for m in c.members() if m["id"] == node.id] == [[new]])
    c.lead(node)
    c.call("put", key="a", value="x")
    c.check_hashes()


@case
def runbook_restart_of_all(t):
    """All members are stopped and started, then killed and started."""
    c = t.cluster(3)
    c.call("put", key="kept", value="x")
    for how in ("SIGTERM", "SIGKILL"):
        for n in c.nodes:
            (n.process.terminate if how == "SIGTERM" else n.process.kill)()
        for n in c.nodes:
            n.wait_exit()
        for n in c.nodes:
            n.start()
        c.wait_ready()
        t.note(f"after {how}, kept", c.call("get", key="kept")["count"])
    t.lists("members", c)


@case
def runbook_repair_flag(t):
    """Runbook 3.4 names a flag --repair, which etcd does not have: it is refused as any unknown flag."""
    c = t.cluster(1)
    only = c.nodes[0]
    only.stop()
    only.start(extra=["--repair"])
    t.note("exit", only.wait_exit())
    t.note("it says so", "flag provided but not defined: -repair" in only.log.read_text(errors="replace"))
    only.start(wait=True)
    t.note("without it", "ready")
