"""Random faults for a cluster under load, for a time. At most a minority of voters is down at once, except for short
pauses; everything is whole again at the end. The same seed draws the same faults, though not at the same moments."""

import random
import time

from cluster import wait_until


class Faults:
    def __init__(self, cluster, load, seed, kinds=None):
        self.cluster = cluster
        self.load = load
        self.rnd = random.Random(seed)
        self.counts = {}
        # Weights; what needs a network that can be cut goes without one.
        self.menu = {"kill": 5, "kill leader": 3, "stop": 3, "pause": 3, "pause leader": 2, "move": 4, "compact": 4,
                     "swap": 0, "learner": 1, "kill twice": 2, "kill all": 1}
        if cluster.network.can_cut:
            self.menu.update({"cut off": 4, "cut off leader": 3, "one way": 4, "flap": 2})
        if cluster.slowdisk:
            self.menu["disk"] = 2
        if kinds:  # members change to any of these on their directories
            self.menu["swap"] = 3
        self.kinds = kinds
        # A learner is a member of its own; it is of these kinds.
        self.learners = sorted({n.kind for n in cluster.nodes})

    def pick(self):
        return self.rnd.choice(self.cluster.nodes)

    def pick_leader(self):
        return self.cluster.leader() or self.pick()

    def short(self, most):
        time.sleep(self.rnd.uniform(0.05, most))

    def one(self):
        name = self.rnd.choices(list(self.menu), list(self.menu.values()))[0]
        self.counts[name] = self.counts.get(name, 0) + 1
        node = self.pick_leader() if name.endswith("leader") else self.pick()
        getattr(self, "do_" + name.removesuffix(" leader").replace(" ", "_"))(node)

    def back(self, node, kind=None):
        node.start(kind)
        node.wait_ready()

    def do_kill(self, node):
        node.kill()
        self.short(2.5)
        self.back(node)

    def do_kill_twice(self, node):
        node.kill()
        node.start()
        self.short(0.8)
        node.kill()
        self.back(node)

    def do_kill_all(self, _):
        for n in self.cluster.nodes:
            n.kill()
        for n in self.cluster.nodes:
            n.start()
        self.cluster.wait_ready()

    def do_stop(self, node):
        node.stop()
        self.short(2.5)
        self.back(node)

    def do_swap(self, node):
        self.cluster.check_logs()
        node.stop()
        self.back(node, self.rnd.choice(self.kinds))

    def do_pause(self, node):
        node.pause()
        self.short(3)
        node.go_on()

    def do_disk(self, node):
        node.stick_disk()
        self.short(4)
        node.release_disk()

    def do_move(self, node):
        leader = self.cluster.leader()
        if leader and leader is not node and node.status()["code"] == "OK":
            self.cluster.ctl.call("move", leader, 5, ID=node.id)

    def do_compact(self, _):
        self.load.compact()

    def do_learner(self, _):
        cluster = self.cluster
        node = cluster.add(self.rnd.choice(self.learners), learner=True)
        if self.rnd.random() < 0.5:
            self.short(1)
            cluster.promote(node)
            cluster.wait_in_sync()
        cluster.remove(node)

    def do_cut_off(self, node):
        self.cluster.network.isolate(node, self.cluster.nodes)
        self.short(4)
        self.cluster.network.heal_all()

    def do_one_way(self, node):
        other = self.rnd.choice([n for n in self.cluster.nodes if n is not node])
        self.cluster.network.cut(node, other)
        self.short(4)
        self.cluster.network.heal_all()

    def do_flap(self, node):
        for _ in range(10):
            a, b = self.rnd.sample(self.cluster.nodes, 2)
            (self.cluster.network.heal if (a, b) in self.cluster.network.broken else self.cluster.network.cut)(a, b)
            self.short(0.4)
        self.cluster.network.heal_all()

    def run(self, seconds, check_every=300):
        """Faults for so long; every so often the history so far is checked, so that it does not outgrow the memory."""
        until, checked = time.monotonic() + seconds, time.monotonic()
        while time.monotonic() < until:
            self.one()
            self.short(1.5)
            if time.monotonic() - checked > check_every:
                self.settle()
                print(f"faults {self.counts}; checked: {self.cluster.check_end(self.load)}", flush=True)
                self.load.run()
                checked = time.monotonic()
        self.settle()
        return self.counts

    def settle(self):
        """Everything runs, and writes are acknowledged."""
        for n in self.cluster.nodes:
            if not n.running:
                n.start()
            n.go_on()
            n.release_disk()
        if self.cluster.network.can_cut:
            self.cluster.network.heal_all()
        self.cluster.wait_ready()
        leader = self.cluster.wait_leader()
        wait_until(lambda: self.cluster.ctl.call("put", leader, 3, key="settled", value="x")["code"] == "OK" or "refused",
                   "writes are acknowledged after the faults")
        self.cluster.wait_in_sync()
