"""docs/runbook.md, typed as it stands there, section by section, and what it promises checked. A section begins with a fresh
cluster that holds 50 keys below data/; after each block of it each of them must still stand in one directory or one backup
of some machine, since a reader may stop anywhere.

A comment before a section's first block says `procedure: NAME`, then, separated by `;`, `cluster: MEMBERS`, `kind: real` for members
of a real etcd, `short` if it belongs to the short form. A comment `test` before a block has a line for each of these:

    on: MACHINE | each           where it is typed (etcd-1)
    machines: A B ...            once for each, with the block's first line naming it
    before: WORDS, after: WORDS  what befalls the cluster, by the functions do_... below
    copy: PATH                   a script of etcd-1 that this machine is to have, too
    exit: N | not 0 | any        (0)
    shows: REGEX                 somewhere in what is printed; `shows 3:` exactly three times; `shows same:` the same text each time
    lacks: REGEX                 nowhere
    prints nothing
    until: yes                   typed again until all of this holds
    seconds: N                   how long at most (60)
    metrics                      not typed: each name in it is one that a member's /metrics has
    skip without: TOOL COMMAND   where the tool has no such command

A block without such a comment is a failure: nothing on the page is unproved."""

import os
import pathlib
import re
import time

import markdown
from members import Failure, expect
from runbook_machines import Machines

ROOT = pathlib.Path(__file__).resolve().parent.parent.parent
PAGE = ROOT / "docs" / "runbook.md"
NAMES = [f"etcd-{i}" for i in range(1, 6)]
HOSTS = "127.0.0.1 localhost\n" + "".join(f"10.0.0.{i} etcd-{i}\n" for i in range(1, 6))
KEYS = 50
SECONDS = 60


class Section:
    def __init__(self, title):
        self.title, self.blocks, self.words = title, [], {}

    @property
    def name(self):
        return self.words.get("procedure", self.title)


def sections():
    text = PAGE.read_text(encoding="utf-8")
    found = []
    words = {}
    for title, comment in re.findall(r"^## (.*)\n<!-- (procedure: .*) -->$", text, re.M):
        words[title] = dict((w.strip().partition(": ")[::2]) for w in comment.split(";"))
    for block in markdown.blocks(text):
        title = block.headings[1]
        if not found or found[-1].title != title:
            found.append(Section(title))
            expect(title in words, f"the section '{title}' has no comment `procedure`")
            found[-1].words = words[title]
        found[-1].blocks.append(Test(block))
    return found


class Test:
    """A block with what its comment asks."""

    def __init__(self, block):
        self.block = block
        first, *lines = block.comment.splitlines() or [""]
        expect(first == "test", f"line {block.line} of {PAGE.name}: no comment `test` before the block")
        self.lines = [line.strip().partition(": ")[::2] if ": " in line else (line.strip(), "") for line in lines]
        known = re.compile(r"on|machines|before|after|copy|exit|shows( \d+| same)?|lacks|prints nothing|until|seconds|metrics|skip without")
        for name, _ in self.lines:
            expect(known.fullmatch(name), f"line {block.line} of {PAGE.name}: unknown word '{name}'")

    def all(self, name):
        return [value for key, value in self.lines if key == name]

    def one(self, name, default=None):
        return (self.all(name) or [default])[-1]

    def has(self, name):
        return bool(self.all(name))

    def wrong(self, code, out, err):
        """What does not hold, or None."""
        said = out + err
        wanted = self.one("exit", "0")
        if not (wanted == "any" or (wanted == "not 0" and code != 0) or str(code) == wanted):
            return f"exit code {code} in the place of {wanted}"
        if self.has("prints nothing") and said.strip():
            return "it printed something"
        for name, pattern in self.lines:
            # The end of a line of the page loses its blanks in many editors: it means one blank or more there.
            found = re.findall(pattern, said, re.M) if name.startswith(("shows", "lacks")) else None
            if name == "shows" and not found:
                return f"nothing like /{pattern}/"
            if name == "shows same" and (len(found) < 2 or len(set(found)) != 1):
                return f"not one text for /{pattern}/: {found}"
            if re.fullmatch(r"shows \d+", name) and len(found) != int(name.split()[1]):
                return f"{len(found)} times /{pattern}/, not {name.split()[1]}"
            if name == "lacks" and found:
                return f"it has /{pattern}/"
        return None


class Page:
    def __init__(self, tools, folder, asked):
        self.machines = Machines(tools, folder, asked, HOSTS, {})
        for i, name in enumerate(NAMES, 1):
            self.machines.add(name, f"10.0.0.{i}")
        self.cluster, self.skipped, self.fresh = [], [], False
        setup = next(s for s in sections() if s.name == "setup")
        self.certificates, self.spread, self.options, self.begin = setup.blocks
        self.run(self.certificates)
        self.run(self.spread)
        pki = self.machines["etcd-1"].file("/etc/etcd/pki")
        self.machines.secure(pki / "ca.crt", pki / "client.crt", pki / "client.key")

    def close(self):
        self.machines.close()

    # ---- blocks ----

    def found(self, words):
        """A fresh cluster, by the page's own blocks."""
        self.cluster = words.get("cluster", "etcd-1 etcd-2 etcd-3").split()
        self.machines.heal_all()
        for machine in self.machines.all.values():
            machine.kill()
            machine.wipe()
            machine.command("etcd", self.machines.real["etcd"] if words.get("kind") == "real" else self.machines.commands["etcd"])
        self.run(self.options)
        if len(self.cluster) == 1:
            self.option(f'ETCD_INITIAL_CLUSTER="{self.cluster[0]}=https://10.0.0.1:2380"')
        self.run(self.begin)
        self.machines.wait_healthy(self.cluster)
        puts = "".join(f"put data/{i:04} value-{i}\n" for i in range(1, KEYS + 1))
        self.ctl(f"etcdctl txn > /dev/null <<'END'\n\n{puts}\n\nEND\netcdctl put greeting hello > /dev/null")

    def option(self, line, names=None):
        for name in names or self.cluster:
            with self.machines[name].file("/etc/default/etcd").open("a", encoding="utf-8") as f:
                f.write(line + "\n")

    def ctl(self, text, name="etcd-1", seconds=SECONDS):
        return self.machines[name].must(f". /etc/etcd/etcdctl.env\n{text}", seconds)

    def run(self, test):
        where = f"{PAGE.name}, line {test.block.line}"
        needed = test.one("skip without")
        for words in test.all("before"):
            self.befall(words)
        if needed and not self.knows(*needed.split()):
            self.skipped.append(f"{where}: the program has no `{needed}`")
            return
        if test.has("metrics"):
            self.metrics(test)
            return
        on = test.one("on", "etcd-1")
        if test.has("machines"):
            first, _, rest = test.block.text.partition("\n")
            expect(first == "machine=etcd-1", f"{where}: the first line does not name the machine")
            todo = [("etcd-1", f"machine={name}\n{rest}") for name in test.one("machines").split()]
        else:
            todo = [(name, test.block.text) for name in (self.cluster if on == "each" else [on])]
        for name, text in todo:
            if test.has("copy"):
                path = test.one("copy")
                source, target = self.machines["etcd-1"].file(path), self.machines[name].file(path)
                target.write_bytes(source.read_bytes())
                target.chmod(0o755)
            self.type(test, where, name, text)
        for words in test.all("after"):
            self.befall(words)

    def type(self, test, where, name, text):
        seconds = int(test.one("seconds", SECONDS))
        deadline = time.monotonic() + seconds
        opening = "[ ! -e /etc/etcd/etcdctl.env ] || . /etc/etcd/etcdctl.env\nset -e -o pipefail\n"
        while True:
            code, out, err = self.machines[name].type(opening + text, seconds)
            wrong = test.wrong(code, out, err if test not in (self.certificates,) else "")
            if wrong is None:
                return
            if not test.has("until") or time.monotonic() > deadline:
                raise Failure(f"{where}, on {name}: {wrong}\n{text}--- exit {code}\n{out}{err}\n{self.machines[name].log_tail()}")
            time.sleep(0.2)

    def knows(self, tool, command):
        return bool(re.search(rf"^\s+{command}\s", self.machines["etcd-1"].type(f"{tool} help")[1], re.M))

    def metrics(self, test):
        page = self.machines["etcd-1"].must("curl -s http://127.0.0.1:2381/metrics")
        has = set(re.findall(r"^# TYPE (\w+) ", page, re.M))
        names = {n.removesuffix("_bucket") for n in re.findall(r"\betcd_\w+", test.block.text)}
        # A round trip is measured first when half a minute has passed.
        lacking = names - has - {"etcd_network_peer_round_trip_time_seconds"}
        expect(names and not lacking, f"{PAGE.name}, line {test.block.line}: no member has {lacking}")

    # ---- what befalls a cluster ----

    def befall(self, words):
        verb, *rest = words.split()
        getattr(self, f"do_{verb}")(*rest)

    def do_kill(self, *names):
        for name in names:
            self.machines[name].kill()

    def do_lose(self, *names):
        for name in names:
            self.machines[name].kill()
            self.machines[name].wipe()

    def do_stop(self, name):
        self.machines[name].must("systemctl stop etcd")

    def do_start(self, name):
        self.machines[name].must("systemctl start etcd")
        self.machines.wait_healthy([name])

    def do_try(self, name):
        code = self.machines[name].type("systemctl start etcd", 30)[0]
        expect(code == 1, f"etcd on {name} started, or hung: {code}\n{self.machines[name].log_tail()}")

    def do_machine(self, name):
        before, self.cluster = self.cluster, [name]
        self.run(self.options)
        self.cluster = before

    def do_owner(self, owner, name):
        expect(owner == "root", owner)
        try:
            os.removexattr(self.machines[name].file("/var/lib/etcd/default"), "user.owner")
        except OSError as e:
            raise Failure(f"no attributes of files here: {e}") from None

    def do_quota(self, size):
        self.option(f'ETCD_QUOTA_BACKEND_BYTES="{size}"')
        for name in self.cluster:
            self.do_stop(name)
        for name in self.cluster:
            self.machines[name].must("systemctl start --no-block etcd")
        self.machines.wait_healthy(self.cluster)

    def do_fill(self):
        self.ctl("head -c 1000000 /dev/zero | tr '\\0' x > /tmp/filler\n"
                 "for i in $(seq 60); do etcdctl put filler < /tmp/filler > /tmp/out 2>&1 || break; done\n"
                 "grep -q 'database space exceeded' /tmp/out")

    def do_isolate(self, name):
        for other in self.machines.all.values():
            if other.name != name:
                self.machines[name].cut(other)
                other.cut(self.machines[name])

    def do_heal(self):
        self.machines.heal_all()

    def do_damage(self, name):
        """One bit, in the middle of what the log holds."""
        log = sorted(self.machines[name].file("/var/lib/etcd/default/member/wal").glob("*.wal"))[-1]
        data = bytearray(log.read_bytes())
        used = len(data.rstrip(b"\0"))
        data[used // 2] ^= 1
        log.write_bytes(data)

    def do_lead(self, name):
        text = ("export ETCDCTL_ENDPOINTS=" + ",".join(f"https://{self.machines[n].host}:2379" for n in self.cluster) +
                f"\nid=$(etcdctl member list | grep ', {name},' | cut -d, -f1)\n"
                "lead=$(etcdctl endpoint status -w json | jq -r '.[] | select(.Status.leader == .Status.header.member_id) | .Endpoint')\n"
                f"[ \"$lead\" = https://{self.machines[name].host}:2379 ] || etcdctl move-leader $id")
        self.ctl(text)

    def do_new(self, program, kind):
        expect(program == "program", program)
        line = self.machines.real["etcd"] if kind == "real" else self.machines.commands["etcd"]
        for name in self.cluster:
            self.machines[name].write("/root/new/etcd", f'#!/bin/sh\nexec {line} "$@"\n', 0o755)

    def do_file(self, name, pattern):
        expect(list(self.machines[name].root.glob(pattern.lstrip("/"))), f"no {pattern} on {name}")

    def do_no(self, what, name, pattern):
        expect(what == "file" and not list(self.machines[name].root.glob(pattern.lstrip("/"))), f"{pattern} is on {name}")

    def do_put(self, key):
        self.ctl(f"etcdctl put {key} x")

    def do_missing(self, key):
        expect(self.ctl(f"etcdctl get {key} --print-value-only") == "", f"{key} is there")

    def do_cron(self, name, path):
        lines = self.machines[name].file(path).read_text(encoding="utf-8").splitlines()
        env = dict(line.split("=", 1) for line in lines if re.match(r"\w+=", line))
        jobs = [line.split(None, 6)[6] for line in lines if re.match(r"[\d*]", line)]
        expect(jobs, f"{path} has no job")
        for job in jobs:
            code, out, err = self.machines[name].type(f"PATH={env.get('PATH', '/usr/bin:/bin')}\n{job}", SECONDS, shell=("/bin/sh",))
            expect(code == 0 and not out + err, f"{path}: exit {code}: {out}{err}")

    # ---- nothing is lost ----

    def still_there(self):
        """Whether one directory or one backup holds all keys."""
        for machine in self.machines.all.values():
            for place in ("/var/lib/etcd", "/var/backups/etcd"):
                for path in sorted(machine.file(place).glob("*")):
                    found = set()
                    for file in ([path] if path.is_file() else [*path.glob("member/snap/db"), *path.glob("member/wal/*.wal")]):
                        with file.open("rb") as f:
                            found.update(re.findall(rb"data/(\d{4})", f.read(16 << 20)))
                    if len(found) >= KEYS:
                        return True
        return False

    def section_of(self, section):
        began = time.monotonic()
        skipped = len(self.skipped)
        if section.name != "setup":
            if not (self.fresh and "cluster" not in section.words and "kind" not in section.words):
                self.found(section.words)
            self.fresh = False
            for test in section.blocks:
                self.run(test)
                expect(self.still_there(), f"{PAGE.name}, line {test.block.line}: a reader who stops here has lost data")
        else:  # each section begins with them, but on its own members
            self.found({})
            self.fresh = True
        done = len(section.blocks) - len(self.skipped) + skipped
        print(f"  {section.title}: {done} blocks, {time.monotonic() - began:.1f} s", flush=True)
        for line in self.skipped[skipped:]:
            print(f"    not run: {line}", flush=True)


def run(tools, args, folder):
    page = Page(tools, folder / "page", args.tools)
    failed = []
    try:
        for section in sections():
            if args.section:
                chosen = any(section.name.startswith(s) for s in args.section)
            else:
                chosen = args.long or "short" in section.words or section.name == "setup"
            if not chosen:
                continue
            try:
                page.section_of(section)
            except Failure as e:
                failed.append(section.name)
                print(f"  FAILED in '{section.title}': {e}", flush=True)
        expect(not failed, f"of {PAGE.name}: {', '.join(failed)}")
    finally:
        page.close()
