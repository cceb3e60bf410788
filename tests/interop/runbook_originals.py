"""The runbooks of ../shared/runbooks as they are written: each code block that names etcd, etcdctl, etcdutl or etcd-benchmark is
in the table (runbook_table.py), run statement by statement against members of the program under test, and what it documents is
checked. A statement that cannot work with any etcd is run, too, and has to fail as the table says, in the long form at real
members as well."""

import concurrent.futures
import dataclasses
import re
import shutil
import subprocess
import tarfile
import time

import markdown
from members import Failure, Skip, expect, run as run_program
from runbook_machines import ROOT, Machines
from runbook_table import BLOCKS, HOSTS, SANS, Run, Text

PKI = "/etc/kubernetes/pki/etcd"
BOOKS = ROOT.parent / "shared" / "runbooks"
NAMES_A_TOOL = re.compile(r"\betcd(ctl|utl|-benchmark)?\b")
# A statement that is judged although the table has no word of it.
CALLS_A_TOOL = re.compile(r"(^|[\s(|;&])(etcdctl|etcdutl|etcd-benchmark)\s|^etcd\s|^systemctl (start|stop|restart) etcd")
ENV = {"ETCDCTL_CACERT": f"{PKI}/ca.crt", "ETCDCTL_CERT": f"{PKI}/server.crt", "ETCDCTL_KEY": f"{PKI}/server.key",
       "ETCDCTL_ENDPOINTS": "https://127.0.0.1:2379"}
FLAG_OF = {"--cacert": "ETCDCTL_CACERT", "--cert": "ETCDCTL_CERT", "--key": "ETCDCTL_KEY", "--endpoints": "ETCDCTL_ENDPOINTS"}
SECONDS = 60


# ---- statements -------------------------------------------------------------------------------------------

def complete(text):
    """Whether bash would not wait for another line."""
    if text.rstrip("\n").endswith("\\"):
        return False
    done = subprocess.run(["bash", "-n"], input=text, capture_output=True, text=True, check=False)
    return done.returncode == 0 and "here-document" not in done.stderr


def statements(text):
    """A script is one statement: its `set -e` holds for all of it."""
    if text.startswith("#!"):
        return [text]
    found, now = [], ""
    for line in text.splitlines(keepends=True):
        if not now and (not line.strip() or line.lstrip().startswith("#")):
            continue
        now += line
        if complete(now):
            found.append(now)
            now = ""
    return found + ([now] if now else [])


def typed(text):
    """The commands of a session: what stands behind a prompt, or, without any prompt, the first line."""
    behind = re.findall(r"^\[root@[^\]]*\]# (.*)$", text, re.M)
    return "\n".join(behind or text.splitlines()[:1]) + "\n"


def commands_of_yaml(text):
    return "\n".join(re.findall(r'^\s*command: "(.*)"$', text, re.M)) + "\n"


# ---- machines ---------------------------------------------------------------------------------------------

class Originals:
    def __init__(self, tools, args, folder):
        self.tools, self.args, self.folder = tools, args, folder
        unit = (ROOT / "deploy" / "etcd.service").read_text(encoding="utf-8")
        unit = unit.replace("/usr/bin/etcd", "/usr/local/bin/etcd").replace("User=etcd", "User=root")
        hosts = "127.0.0.1 localhost\n" + "".join(f"{address} {' '.join(names)}\n" for address, names in HOSTS.items())
        self.machines = Machines(tools, folder / "originals", args.tools, hosts, {"/etc/systemd/system/etcd.service": unit})
        self.certificates(folder / "pki")
        self.release(folder / "release")
        self.count = 6 if args.long or args.section else 3
        for i in range(1, self.count + 1):
            machine = self.machines.add(f"etcd-{i}", f"10.0.0.{i}", [f"10.0.1.{9 + i}", f"10.0.0.{10 + i}"])
            target = machine.file(PKI)
            shutil.copytree(folder / "pki", target)
            machine.write("/etc/kubernetes/manifests/etcd.yaml", "kind: Pod\n")
            machine.write("/etc/etcd/etcd.conf", "ETCD_NAME=etcd\n")
            shutil.copytree(folder / "release", machine.file("/opt/releases"))
        self.machines.secure(folder / "pki/ca.crt", folder / "pki/server.crt", folder / "pki/server.key")
        self.size = 3
        self.now = None  # what cluster runs, if it is as it began
        self.listed = []
        self.counted = [0, 0]

    def certificates(self, pki):
        pki.mkdir()
        curve = ["-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:P-256", "-nodes"]
        run_program(["openssl", "req", "-x509", *curve, "-subj", "/CN=etcd-ca", "-days", "30", "-keyout", pki / "ca.key", "-out",
                     pki / "ca.crt"])
        for name in ("server", "peer", "healthcheck-client"):
            run_program(["openssl", "req", *curve, "-subj", f"/CN={name}", "-keyout", pki / f"{name}.key", "-out", pki / f"{name}.csr",
                         "-addext", f"subjectAltName={SANS}", "-addext", "extendedKeyUsage=serverAuth,clientAuth"])
            run_program(["openssl", "x509", "-req", "-in", pki / f"{name}.csr", "-CA", pki / "ca.crt", "-CAkey", pki / "ca.key",
                         "-CAcreateserial", "-days", "30", "-copy_extensions", "copy", "-out", pki / f"{name}.crt"])
            (pki / f"{name}.csr").unlink()
        for path in (pki / "ca.key", pki / "ca.srl"):
            path.unlink(missing_ok=True)

    def release(self, folder):
        """What an upgrade downloads: the program under test, packed as a release of etcd is."""
        folder.mkdir()
        script = folder / "etcd"
        script.write_text('#!/bin/sh\nexec /opt/programs/etcd "$@"\n', encoding="utf-8")
        script.chmod(0o755)
        name = "etcd-v3.5.9-linux-amd64"
        (folder / "v3.5.9").mkdir()
        with tarfile.open(folder / "v3.5.9" / f"{name}.tar.gz", "w:gz") as tar:
            tar.add(script, f"{name}/etcd")

    def options(self, block, name, host, initial, state="new"):
        by_name = "by name" in block.how
        me = name if by_name else host
        client, peer = f"https://{me}:2379", f"https://{host}:2380"
        lines = {"NAME": name, "DATA_DIR": "/var/lib/etcd", "LISTEN_CLIENT_URLS": f"https://{host}:2379,https://127.0.0.1:2379",
                 "ADVERTISE_CLIENT_URLS": client, "LISTEN_PEER_URLS": peer, "INITIAL_ADVERTISE_PEER_URLS": peer,
                 "LISTEN_METRICS_URLS": "http://127.0.0.1:2381", "CERT_FILE": f"{PKI}/server.crt", "KEY_FILE": f"{PKI}/server.key",
                 "TRUSTED_CA_FILE": f"{PKI}/ca.crt", "CLIENT_CERT_AUTH": "true", "PEER_CERT_FILE": f"{PKI}/peer.crt",
                 "PEER_KEY_FILE": f"{PKI}/peer.key", "PEER_TRUSTED_CA_FILE": f"{PKI}/ca.crt", "PEER_CLIENT_CERT_AUTH": "true",
                 "INITIAL_CLUSTER_STATE": state, "INITIAL_CLUSTER": initial, **block.options}
        return "".join(f'ETCD_{k}="{v}"\n' for k, v in lines.items())

    def found(self, block):
        """The cluster that a block begins with; one that a block has only looked at serves the next."""
        wanted = (block.members, block.how, tuple(block.options.items()), block.real)
        if wanted == self.now:
            return
        self.now, self.size = None, block.members
        self.machines.heal_all()
        for machine in self.machines.all.values():
            machine.kill()
            machine.wipe()
            machine.command("etcd", self.machines.real["etcd"] if block.real else self.machines.commands["etcd"])
            machine.file("/var/lib/etcd").rmdir()
            machine.file("/backup/etcd").mkdir()
            machine.file("/tmp/manifests").mkdir()
            machine.write("/etc/kubernetes/manifests/etcd.yaml", "kind: Pod\n")
        names = [f"etcd-{i}" for i in range(1, block.members + 1)]
        named = {n: ("etcd-0" if block.members == 1 and "etcd-0" in block.how else n) for n in names}
        initial = ",".join(f"{named[n]}=https://{self.machines[n].host}:2380" for n in names)
        for i in range(1, self.count + 1):
            name = f"etcd-{i}"
            self.machines[name].write("/etc/default/etcd", self.options(block, named.get(name, name), f"10.0.0.{i}", initial))
        for name in names:
            self.machines[name].must("systemctl start --no-block etcd")
        self.machines.wait_healthy(names)
        puts = "".join(f"put data/{i:04} value-{i}\n" for i in range(1, 51))
        self.machines["etcd-1"].must(f"etcdctl txn > /dev/null <<'END'\n\n{puts}\n\nEND", env=ENV)
        self.now = wanted

    # ---- a block ----

    def shell(self, block, text):
        """The variables of an earlier block are taken away where a statement gives the same as flags: etcdctl refuses both."""
        both = {variable for flag, variable in FLAG_OF.items() if re.search(rf"{flag}[= ]", text)}
        return {k: v for k, v in {**ENV, **block.env}.items() if k not in both}

    def prepare(self, block, text):
        text = block.transform(text) if block.transform else text
        if block.part:
            begin, end = (re.search(p, text).start() if p else None for p in block.part)
            text = text[begin:end]
        text = re.sub(r"journalctl -u etcd -f", "timeout 1 journalctl -u etcd -f", text)  # until Ctrl-C
        for old, new in block.map.items():
            expect(old in text, f"{block.id}: nothing is '{old}' in the block any more")
            text = text.replace(old, new)
        return text

    def with_etcdutl(self, found):
        """Where etcdctl cannot restore, etcdutl does it afterwards with the same words, so that the block can go on."""
        for statement in found:
            yield statement
            if "etcdctl" not in self.machines.ours and re.search(r"etcdctl (\\\n\s+)?snapshot restore", statement):
                yield statement.replace("etcdctl", "etcdutl")

    def run(self, block, text):
        began = time.monotonic()
        judged = self.counted[0]
        self.found(block)
        if not block.looks:
            self.now = None
        for words in block.before:
            self.befall(words)
        used = set()
        group, machine = [], None
        for statement in self.with_etcdutl(statements(self.prepare(block, text))):
            if re.match(r"(iostat|iotop|iftop|top)\b", statement):
                continue  # the machine's own state, and without an end
            drop = next((why for pattern, why in block.drop.items() if re.search(pattern, statement)), None)
            used.update(p for p in block.drop if re.search(p, statement))
            if drop is None and re.search(r"check perf", statement) and not self.args.long:
                drop = "a minute of load: in the long form"
            if drop:
                used.update(e.pattern for e in block.expect if re.search(e.pattern, statement))
                if CALLS_A_TOOL.search(statement) and not block.real:
                    self.listed.append(f"{block.id}: not run: {first_line(statement)}: {drop}")
                continue
            where = next((m for p, m in block.on.items() if re.search(p, statement)), "etcd-1")
            if group and where != machine:
                self.group(block, machine, group, used)
                group = []
            machine = where
            group.append(statement)
        if group:
            self.group(block, machine, group, used)
        unused = [p for p in [*(e.pattern for e in block.expect), *block.drop] if p not in used]
        expect(not unused, f"{block.id}: no statement is like {unused}")
        for words in block.after:
            self.befall(words)
        print(f"  {block.id}{' at real members' if block.real else ''}: {self.counted[0] - judged} statements, {time.monotonic() - began:.1f} s", flush=True)

    def group(self, block, where, group, used):
        """Statements that go to one machine share a shell. `where` may name several, which run at the same time."""
        marks = []
        for number, statement in enumerate(group):
            env = self.shell(block, statement)
            gone = " ".join(sorted(set(ENV) - set(env)))
            text = statement if statement.endswith("\n") else statement + "\n"
            if text.startswith("#!"):
                name = f"/tmp/script-{number}"
                text = f"cat > {name} <<'END-OF-SCRIPT'\n{text}END-OF-SCRIPT\nbash {name}\n"
            if gone:
                text = f"( unset {gone}\n{text})\n"
            if any(re.search(p, statement) for p in block.background):
                text = f"( exec {text.strip()} ) > /tmp/background.log 2>&1 &\n" + block.background_wait
            # A cluster whose members have been connected for less than 5 s refuses a change of members: it is typed again.
            once = f"{{ {text}\n}} > /tmp/out.{number} 2> /tmp/err.{number}; code=$?"
            if "member " in statement and not any(e.why for e in block.expect if re.search(e.pattern, statement)):
                once = (f"for again in $(seq 60); do\n{once}\n[ $code != 0 ] && grep -q 'etcdserver: unhealthy cluster' /tmp/err.{number} || "
                        "break\nsleep 0.3\ndone")
            marks.append(f"{once}\necho $code > /tmp/code.{number}\n")
        script = "rm -f /tmp/out.* /tmp/err.* /tmp/code.*\n" + "".join(marks)
        names = where.split()
        with concurrent.futures.ThreadPoolExecutor(len(names)) as pool:
            list(pool.map(lambda n: self.machines[n].type(script, block.seconds, {**ENV, **block.env}), names))
        for name in names:
            for number, statement in enumerate(group):
                self.judge(block, name, number, statement, used)

    def judge(self, block, name, number, statement, used):
        files = [self.machines[name].file(f"/tmp/{kind}.{number}") for kind in ("out", "err", "code")]
        if not files[2].exists():
            raise Failure(f"{block.id} on {name}: did not end, or was not reached: {statement}\n"
                          f"{files[0].read_text(errors='replace') if files[0].exists() else ''}"
                          f"{files[1].read_text(errors='replace') if files[1].exists() else ''}\n{self.machines[name].log_tail()}")
        out, err, code = (f.read_text(encoding="utf-8", errors="replace") for f in files)
        code = int(code)
        about = [e for e in block.expect if re.search(e.pattern, statement)]
        used.update(e.pattern for e in about)
        if not about and not CALLS_A_TOOL.search(statement):
            return
        self.counted[0] += 1
        said = f"{out}{err}"
        for e in about or [None]:
            ours = e and e.ours is not None and e.tool in self.machines.ours and not (block.real and e.tool == "etcd")
            codes = (0,) if e is None or ours else e.codes
            shows = () if e is None else (e.ours if ours else e.shows)
            wrong = None
            if codes and code not in codes:
                wrong = f"exit code {code}, not {' or '.join(map(str, codes))}"
            for count, pattern in ((s if isinstance(s, tuple) else (None, s)) for s in shows):
                found = len(re.findall(pattern, said, re.M))
                if not wrong and (found == 0 if count is None else found != count):
                    wrong = f"{found} times /{pattern}/" + (f", not {count}" if count is not None else "")
            if wrong:
                raise Failure(f"{block.id} on {name}: {wrong}\n{statement}--- exit {code}\n{said[-4000:]}\n{self.machines[name].log_tail()}")
            if e is not None and e.why and not ours:
                self.counted[1] += 1
                self.listed.append(f"{block.id}{' at a real member' if block.real else ''}: {first_line(statement)}: {e.why}")

    # ---- what befalls a cluster ----

    def befall(self, words):
        verb, *rest = words.split(" ", 1)
        getattr(self, f"do_{verb}")(*rest)

    def do_kill(self, name):
        self.machines[name].kill()

    def do_type(self, text):
        """On etcd-1, and it has to succeed."""
        self.machines["etcd-1"].must(text, env=ENV)

    def do_healthy(self, names):
        self.machines.wait_healthy(names.split())

    def do_keys(self, count):
        said = self.machines["etcd-1"].must("etcdctl get data/ --prefix --keys-only | grep -c . || true", env=ENV).strip()
        expect(said == count, f"{said} keys in the place of {count}")

    def do_options(self, text):
        for i in range(1, self.count + 1):
            with self.machines[f"etcd-{i}"].file("/etc/default/etcd").open("a", encoding="utf-8") as f:
                f.write(text + "\n")

    def do_lead(self, name):
        self.do_type("export ETCDCTL_ENDPOINTS=" + ",".join(f"https://10.0.0.{i}:2379" for i in range(1, self.size + 1)) + "\n"
                     f"id=$(etcdctl member list | grep ', {name},' | cut -d, -f1)\n"
                     "lead=$(etcdctl endpoint status -w json | jq -r '.[] | select(.Status.leader == .Status.header.member_id) | .Endpoint')\n"
                     f"[ \"$lead\" = https://{self.machines[name].host}:2379 ] || etcdctl move-leader $id")

    def do_history(self, revisions):
        """Many revisions of one key, over the JSON gateway: one process for all."""
        body = '{"key":"aGlzdG9yeQ==","value":"eA=="}'
        pki = f'cacert = "{PKI}/ca.crt"\ncert = "{PKI}/server.crt"\nkey = "{PKI}/server.key"\noutput = "/dev/null"\n'
        one = f'url = "https://10.0.0.1:2379/v3/kv/put"\ndata = "{body.replace(chr(34), chr(92) + chr(34))}"\n' + pki
        self.machines["etcd-1"].write("/tmp/curl", "next\n".join([one] * int(revisions)))
        self.do_type("curl -sS -f -K /tmp/curl")

    def do_fill(self, count):
        """So many values of 1 MB, or until there is no room."""
        self.do_type("head -c 1000000 /dev/zero | tr '\\0' x > /tmp/filler\n"
                     f"for i in $(seq {count}); do etcdctl put filler < /tmp/filler > /tmp/fill.out 2>&1 || break; done\n"
                     "grep -qE 'OK|database space exceeded' /tmp/fill.out")


def first_line(statement):
    return " ".join(statement.split())[:110]


def books():
    if not BOOKS.is_dir():
        raise Skip(f"the runbooks are not there: {BOOKS}")
    return sorted(BOOKS.glob("*.md"))


def metrics(originals, block, text):
    """Every metric that an alert names is one that a member has."""
    originals.found(block)
    page = originals.machines["etcd-1"].must("curl -s http://127.0.0.1:2381/metrics")
    has = set(re.findall(r"^# TYPE (\w+) ", page, re.M))
    names = {n.removesuffix("_bucket") for n in re.findall(r"\betcd_[a-z_]+", text)}
    lacking = names - has - {"etcd_network_peer_round_trip_time_seconds"}  # first measured after half a minute
    expect(names and not lacking, f"{block.id}: no member has {lacking}")
    originals.counted[0] += len(names)


def flags(originals, block, text):
    """Every flag in it is one that the program has."""
    known = set(re.findall(r"^  (--[\w-]+)", originals.machines["etcd-1"].must("etcd --help"), re.M))
    named = re.findall(r"^(--[\w-]+)=", text, re.M)
    expect(named and set(named) <= known, f"{block.id}: unknown flags {set(named) - known}")
    originals.counted[0] += len(named)


SPECIAL = {"metrics": metrics, "flags": flags, "session": typed, "yaml": commands_of_yaml}


def run(tools, args, folder):
    texts = {}
    for number, path in enumerate(books(), 1):
        for block in markdown.blocks(path.read_text(encoding="utf-8", errors="replace")):
            if NAMES_A_TOOL.search(block.text):
                texts[f"{number}.{block.number}"] = block.text
    in_table = {b.id for b in BLOCKS}
    expect(in_table == set(texts), f"blocks that name a tool and are not in the table: {sorted(set(texts) - in_table)}, or the other "
           f"way round: {sorted(in_table - set(texts))}")
    originals = Originals(tools, args, folder)
    failed = []
    chosen = [b for b in BLOCKS if (b.id in args.section if args.section else args.long or b.short)]
    # What cannot work has to fail at a real member, too.
    real = [dataclasses.replace(b, real=True) for b in chosen if args.long and isinstance(b, Run) and not b.real and any(e.why for e in b.expect)]
    try:
        for block in [*chosen, *real]:
            try:
                if isinstance(block, Text):
                    originals.listed.append(f"{block.id}: nothing to type: {block.why}")
                elif block.special in ("metrics", "flags"):
                    SPECIAL[block.special](originals, block, texts[block.id])
                else:
                    block.transform = SPECIAL.get(block.special)
                    originals.run(block, texts[block.id])
            except Failure as e:
                originals.now = None
                failed.append(block.id)
                print(f"  {block.id} FAILED: {e}", flush=True)
    finally:
        originals.machines.close()
    for line in originals.listed:
        print(f"  {line}")
    print(f"  {originals.counted[0]} statements judged; {originals.counted[1]} of them cannot work, and fail as the table says", flush=True)
    expect(not failed, f"of the runbooks: {', '.join(failed)}")
