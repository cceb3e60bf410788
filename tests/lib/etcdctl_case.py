"""Cases for tests/interop/etcdctl.py: a command line that the real etcdctl and ours are given, each at its own one of two
equal members, and what may differ in what they say.

    CASES = [
        *formats("get a"),                                        # once for each -w
        Case("put a", stdin="value"),
        Case("lease grant 100", save=("lease", r"lease (\\w+) granted")),
        Case("lease revoke {lease}"),                             # what the same tool printed
        Case("watch a --rev 1", lines=2),                         # ends by SIGTERM after two lines
        Case("get a b", meant="why ours differs"),                # has to differ
    ]

The cases of a list run in order, so that the members stay equal. A list of another file needs no more than the name
etcdctl_cases_*.py and a list CASES; FRESH = True gives it members of its own.
"""

import dataclasses
import json
import re
import shlex

FORMATS = ("simple", "fields", "json", "protobuf", "table")


@dataclasses.dataclass
class Case:
    args: object                  # a line for shlex, or a list of words; {name} is a saved text, {endpoint} the member
    stdin: str = ""
    env: dict = dataclasses.field(default_factory=dict)
    server: bool = True           # --endpoints is put in front
    save: tuple = None            # name, pattern with one group, for standard output
    lines: int = None             # a command that goes on: ended by SIGTERM after so many lines of standard output
    hold: bool = False            # standard input stays open until then, and its end is what ends the command
    mask: tuple = ()              # pairs of pattern and replacement, for both outputs
    meant: str = None             # the outputs differ, and this is why
    may: bool = False             # with `meant`: they need not differ each time
    timeout: float = 20

    def words(self, names):
        words = shlex.split(self.args) if isinstance(self.args, str) else list(self.args)
        for name, value in names.items():
            words = [w.replace("{" + name + "}", value) for w in words]
        return words

    @property
    def title(self):
        return self.args if isinstance(self.args, str) else shlex.join(self.args)


def formats(args, only=FORMATS, **kw):
    """The command once in each format. For commands that change nothing, or the same thing each time."""
    return [Case(f"{args} -w {f}", **kw) for f in only]


DURATION = r"(?:\d+(?:\.\d+)?(?:h|m|s|ms|µs|ns))+"
SIZES = [
    (r"\d+(\.\d+)? (B|kB|MB)", "SIZE"),
    (r'"(dbSize|dbSizeInUse)":\d+', r'"\1":N'),
    (r'"(DBSize|DBSizeInUse)" : \d+', r'"\1" : N'),
    (r"\d+%", "P%"),
    (r" +SIZE", " SIZE"),
]
TOOK = [(r"took = " + DURATION, "took = T"), (r'"took":"' + DURATION + '"', '"took":"T"'),
        (r'"Took" : ' + DURATION, '"Took" : T'), (r"took " + DURATION, "took T")]


def mask_log_line(line):
    """A line of zap's JSON without what no two runs share; other lines as they are."""
    if not line.startswith('{"level"'):
        return line
    try:
        entry = json.loads(line)
    except ValueError:
        return line
    for key in ("ts", "caller", "stacktrace"):
        if key in entry:
            entry[key] = key
    if "target" in entry:
        entry["target"] = re.sub(r"0x[0-9a-f]+", "0x", entry["target"])
    if "peer" in entry:
        entry["peer"] = re.sub(r"LocalAddr: ('[^']*'|<nil>)", "LocalAddr", entry["peer"])
    return json.dumps(entry)


# What is masked everywhere, and why: printed with the differences that are meant.
MASKED = [
    ("ts, caller and stacktrace of log lines", "each program has its own; ours has no stack trace"),
    ("LocalAddr of a peer in log lines", "grpc++ does not tell it; ours prints <nil>"),
    ("the pointer in the target of log lines", "an address in memory"),
]
