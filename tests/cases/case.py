"""What a case has to itself: its clusters, and the notes of what it saw. Two runs of one case, on different kinds of
members, must make the same notes; so a note has names and codes in it, no IDs, ports, times or counts that vary."""

import pathlib
import re
import sys
import time

sys.path.insert(0, str(pathlib.Path(__file__).resolve().parent.parent / "lib"))
import cluster as clusters  # noqa: E402
import network as networks  # noqa: E402
from members import expect  # noqa: E402

CASES = {}


def case(f):
    """Registers a case under its name; its page is the docstring."""
    CASES[f.__name__] = f
    return f


class Case:
    def __init__(self, tools, folder, kinds, args):
        self.tools = tools
        self.folder = folder
        self.kinds = kinds
        self.args = args
        self.long = args.long
        self.notes = []
        self.names = True  # false: who is who depends on who led
        self.clusters = []

    @property
    def subject(self):
        """The kind that a case is about, where it needs only one."""
        return self.kinds[0]

    def cluster(self, n=3, options=None, network=None, found=True, kinds=None, **kw):
        kinds = kinds or [self.kinds[i % len(self.kinds)] for i in range(n)]
        c = clusters.Cluster(self.tools, self.folder / f"c{len(self.clusters)}", kinds, network or networks.Plain(self.tools),
                             options, **kw)
        self.clusters.append(c)
        return c.found() if found else c

    def settled_cluster(self, n=3, **kw):
        """A cluster whose members have been connected for so long that changes of members are allowed (5 s)."""
        c = self.cluster(n, **kw)
        time.sleep(5.5)
        return c

    def note(self, label, value):
        text = f"{label}: {value}"
        self.notes.append(text)
        if self.args.verbose:
            print(f"    {text}", flush=True)

    def call(self, label, c, do, node, timeout=10, **fields):
        """A call whose code and text are noted."""
        began = time.monotonic()
        a = c.ctl.call(do, node, timeout, **fields)
        text = a["code"]
        if text != "OK":
            text += " " + re.sub(r"\b[0-9a-f]{14,16}\b", "ID", a["message"])
        if a["code"] != "OK" and time.monotonic() - began > timeout - 0.3:
            text = "no answer in time"  # member and client have one deadline: whose word is heard is chance
        elif a["code"] == "DeadlineExceeded" or "connection error" in text or "connection refused" in text:
            text = a["code"]  # the client's own words
        self.note(label, text)
        return a

    def list(self, label, c, node=None):
        """The list of members, by name."""
        members = c.ctl.must("members", node, 10, Serial=True)["members"] if node else c.members()
        self.note(label, self.text_of(members))
        return members

    def text_of(self, members):
        return ", ".join(sorted(f"{(m['name'] if self.names else 'member') if m['name'] else 'unstarted'}"
                                f"{' learner' if m['learner'] else ''}" for m in members))

    def lists(self, label, c):
        """One note, if all members tell one list."""
        for _ in range(200):  # a change may still be on its way to any of them
            seen = {}
            for n in c.live:
                a = c.ctl.call("members", n, 5, Serial=True)
                if a["code"] != "FailedPrecondition":  # a learner does not tell
                    seen[n.name] = self.text_of(a["members"]) if a["code"] == "OK" else a["code"]
            if len(set(seen.values())) == 1:
                break
            time.sleep(0.05)
        self.note(label, next(iter(seen.values())) if len(set(seen.values())) == 1 else seen)

    def ended(self, label, node, seconds=20, how=True):
        """Whether a member ends by itself, and how (unless that is chance)."""
        try:
            code = node.wait_exit(seconds)
            self.note(label, "ends" if not how else "ends with 0" if code == 0 else "ends with an error")
            return True
        except Exception:  # pylint: disable=broad-except
            self.note(label, "runs")
            return False

    def logged(self, label, node, *texts):
        found = [t for t in texts if node.log_has(t)]
        self.note(label, "; ".join(found) or "nothing of that")

    def close(self):
        for c in self.clusters:
            c.close()


__all__ = ["CASES", "Case", "case", "clusters", "expect", "networks"]
