"""Each code block of ../shared/runbooks that names a tool: what cluster it is typed at, what is put in for hosts, placeholders and
waits, and what must be seen. runbook_originals.py does it."""

import dataclasses

PKI = "/etc/kubernetes/pki/etcd"
HOSTS = {**{f"10.0.0.{i}": [f"etcd-{i}"] for i in range(1, 7)}, "10.0.1.10": ["etcd-0.example.com"], "10.0.1.11": ["etcd-new"]}
SANS = ",".join(["DNS:localhost", "IP:127.0.0.1", *(f"DNS:etcd-{i}" for i in range(1, 7)), *(f"IP:10.0.0.{i}" for i in range(1, 17)),
                 *(f"IP:10.0.1.{i}" for i in range(10, 16)), "DNS:etcd-0.example.com"])


@dataclasses.dataclass
class Text:
    """A block that is not typed: a drawing, a log, an answer."""
    id: str
    why: str
    short: bool = False


@dataclasses.dataclass
class E:
    """What a statement like `pattern` must show. With `why` it cannot work with a 3.6, and `codes` and `shows` are how it fails;
    `ours` is what must be shown instead where `tool` is ours and does more."""
    pattern: str
    shows: tuple = ()  # patterns, or (count, pattern)
    codes: tuple = (0,)
    why: str = ""
    ours: tuple | None = None
    tool: str = "etcdctl"


@dataclasses.dataclass
class Run:
    id: str
    expect: list = dataclasses.field(default_factory=list)
    members: int = 3
    how: str = ""            # "by name": clients are told names; "etcd-0": the one member is called so
    real: bool = False       # of a real 3.6
    looks: bool = False      # it changes nothing: the next block may begin with its cluster
    options: dict = dataclasses.field(default_factory=dict)
    before: tuple = ()       # do_... of runbook_originals.Originals
    after: tuple = ()
    env: dict = dataclasses.field(default_factory=dict)
    map: dict = dataclasses.field(default_factory=dict)
    part: tuple = ()         # patterns of where it begins and ends, if it is typed in parts
    on: dict = dataclasses.field(default_factory=dict)    # statements like this: machines; else etcd-1
    drop: dict = dataclasses.field(default_factory=dict)  # statements like this: why they are left out
    background: tuple = ()
    background_wait: str = ""
    seconds: int = 90
    short: bool = False
    special: str = ""
    transform: object = None


ALL = "etcd-1 etcd-2 etcd-3"
THREE = "https://10.0.0.1:2379,https://10.0.0.2:2379,https://10.0.0.3:2379"
HEALTHY = (3, r"^https://\S+:2379 is healthy: successfully committed proposal: took = ")
ROWS = (3, r"^\| +https://\S+:2379 \| +[0-9a-f]+ \| +3\.6\.")
STARTED = (3, r"\| started \|")
FINISHED = (3, r"^Finished defragmenting etcd member\[")
ADDED = (r"^Member +[0-9a-f]+ added to cluster", r'^ETCD_NAME="', r'^ETCD_INITIAL_CLUSTER="', r'^ETCD_INITIAL_CLUSTER_STATE="existing"$')
REMOVED = (r"^Member +[0-9a-f]+ removed from cluster",)
PERF = E(r"check perf", (r"^(PASS|FAIL)$",), (0, 1))
SAVED = E(r"snapshot save", (r"^Snapshot saved at ",))
STATUS = E(r"etcdctl[^|]*snapshot status", (r"snapshot",), why="3.6 has moved it to etcdutl; etcdctl prints its help and ends with 0",
           ours=(r"[0-9a-f]{6,8}",))
RESTORE = E(r"etcdctl[^|]*snapshot restore", (r"unknown flag: --",), (1,), "3.6 has moved it to etcdutl", ours=())
K = "-k alone does not pass --client-cert-auth: the server wants the client's certificate"
NAMELESS = "the plain form of `endpoint status` prints values without names"
ELSEWHERE = "etcd has it under .Status: jq finds null"


def member(name):
    return f"$(etcdctl member list | grep {name} | cut -d, -f1)"


def flags(name, host, cluster, state):
    return (f"--name {name} --initial-cluster {cluster} --initial-cluster-state {state} --initial-advertise-peer-urls https://{host}:2380 "
            f"--listen-peer-urls https://{host}:2380 --listen-client-urls https://{host}:2379,https://127.0.0.1:2379 "
            f"--advertise-client-urls https://{host}:2379 --data-dir /var/lib/etcd --cert-file={PKI}/server.crt --key-file={PKI}/server.key "
            f"--trusted-ca-file={PKI}/ca.crt --client-cert-auth --peer-cert-file={PKI}/peer.crt --peer-key-file={PKI}/peer.key "
            f"--peer-trusted-ca-file={PKI}/ca.crt --peer-client-cert-auth")


def up(host):
    return (f"until curl -s --cacert {PKI}/ca.crt --cert {PKI}/server.crt --key {PKI}/server.key https://{host}:2379/health | "
            "grep -q true; do sleep 0.2; done")


MEMBERS = ",".join(f"etcd-{i}=https://10.0.0.{i}:2380" for i in (1, 2, 3))
UNTIL_HEALTHY = "until etcdctl endpoint health --cluster > /dev/null 2>&1; do sleep 0.5; done"
IN_STEP = "until etcdctl endpoint status --cluster -w json | jq -e '[.[].Status.raftAppliedIndex] | max - min < 5'; do sleep 0.5; done"

BLOCKS = [
    # ---- 1-troubleshooting ----
    Text("1.1", "a drawing"),
    Text("1.2", "a drawing; 1.3 has its commands"),
    Run("1.3", [E(r"member list -w table", (STARTED,)), E(r"endpoint health", (HEALTHY,)), E(r"endpoint status --cluster -w table", (ROWS,)),
                E(r"select\(.leaderInfo", ((3, r'"Endpoint"'),), why="etcd has no leaderInfo: the select passes every member"),
                E(r"\[\].raftTerm", ((3, r"^null$"),), why=ELSEWHERE, ours=((3, r"^\d+$"),)),
                E(r"\[\].raftIndex", ((3, r"^null$"),), why=ELSEWHERE, ours=((3, r"^\d+$"),)),
                E(r"\[\].raftAppliedIndex", ((3, r"^null$"),), why=ELSEWHERE, ours=((3, r"^\d+$"),)),
                E(r"\[\].dbSize", ((3, r"^null$"),), why=ELSEWHERE, ours=((3, r"^\d+$"),)),
                E(r"ls -lh /var/lib/etcd/member/wal/", (r"\.wal$",)), PERF], looks=True, seconds=150),
    Run("1.4", [E(r"endpoint hashkv --cluster", ((3, r"^\| https://\S+ \| +\d+ \|"),)), E(r"^for endpoint", ((3, r":2379, \d+, \d+$"),)),
                E(r"^etcd --version", (r"^etcd Version: 3\.6\.",)), E(r"^etcdctl version", (r"^etcdctl version: 3\.6\.",)),
                E(r"\[\].version", ((3, r"^null$"),), why=ELSEWHERE, ours=((3, r'^"3\.6\.\d+"$'),)),
                E(r"write-out=table endpoint status --cluster", (ROWS,))], looks=True,
        map={"127.0.0.1:2379 127.0.0.2:2379 127.0.0.3:2379": "10.0.0.1:2379 10.0.0.2:2379 10.0.0.3:2379"}),
    Run("1.5", [SAVED, STATUS, RESTORE], members=1, part=(None, r"# =+ 3\."),
        map={"/backup/etcd-snapshot.db": "$(ls /backup/etcd-snapshot-*.db)"}, after=("healthy etcd-1", "keys 50")),
    Run("1.5", [E(r"member remove", REMOVED), E(r"member add", ADDED)], part=(r"# =+ 3\.", None),
        map={"<member-id>": member("etcd-3")}),
    Run("1.6", [E(r"^curl", (r"^etcd_mvcc_db_total_size_in_bytes \d", r"^etcd_disk_wal_fsync_duration_seconds_bucket")), PERF],
        looks=True, seconds=150),
    Run("1.7", [E(r"compact \$\(", (r"^compacted revision \d+$",)), E(r"defrag --cluster", (FINISHED,))]),
    Run("1.8", [E(r"endpoint health", (HEALTHY,)), E(r"endpoint status", (ROWS,)),
                E(r"member remove", (r"bad member ID arg",), (128,), "jq gives the ID as a decimal number, `member remove` reads hexadecimal")],
        drop={r"^mkdir": "the service makes its directory"}),
    Run("1.9", [E(r"member list", (STARTED,))], looks=True),
    Run("1.10", [E(r"^#!", (HEALTHY, r"^=== "))], looks=True),
    Run("1.11", special="metrics", looks=True),
    # ---- 2-fault-guide ----
    Run("2.1", [E(r"endpoint health", (HEALTHY,)), E(r"endpoint status --cluster", (ROWS,)), E(r"member list", (STARTED,)),
                E(r"dbSize: .Status.dbSize", (r'"endpoint": "https://127\.0\.0\.1:2379"', r'"dbSize": \d+'))], looks=True,
        drop={r"crictl|kubectl": "a container's log"}),
    Text("2.2", "a drawing"),
    Run("2.4", [E(r"^pgrep -a", (r"^\d+ .*etcd",)), E(r"^cat /proc", (r"etcd",)), E(r"^ls -la", (r"member$",))], looks=True,
        drop={r"crictl": "of containers"}),
    Run("2.5", [E(r"endpoint health", (HEALTHY,)), E(r"endpoint status", (ROWS, (1, r"\| +true \| +false \|"))), E(r"member list", (STARTED,))],
        looks=True, short=True),
    Run("2.6", [E(r"dbSizeInUse", (r'"dbSize": \d+', r'"dbSizeInUse": \d+')), E(r"^ls -la \S+/wal/", (r"\.wal$",)), E(r"^ls -la \S+/snap/", (r" db$",))],
        looks=True),
    Run("2.7", [E(r"^ss ", (r":2379", r":2380")), E(r"^curl -k", (r"^curl: \(\d+\)",), (35, 55, 56), K)], looks=True),
    Run("2.8", [E(r"^openssl x509", (r"^notAfter=",)), E(r"^for cert", ((4, r"^notAfter="),)), E(r"^openssl verify", (r": OK$",))], looks=True),
    Run("2.9", [E(r"^curl -k", (r"curl: \(\d+\)",), (1,), K)], looks=True),
    Run("2.10", [E(r"grep -iE .\(election", (r"leader",))], looks=True, before=("lead etcd-1",), drop={r"crictl": "a container's log"}),
    Run("2.11", [E(r"^cp -r"), E(r"^ls -la", ())], drop={r"chown -R root:root": "the other of two ways"}, after=("healthy etcd-1",)),
    Run("2.13", [E(r"endpoint status", (ROWS,)), E(r"^for node", (r"curl: \(\d+\)",), (), K), E(r"^etcdctl member list", ((3, r", started, "),))],
        map={"sleep 30": UNTIL_HEALTHY}),
    Text("2.16", "advice"),
    Run("2.15", [E(r"alarm list", (r"alarm:NOSPACE",)), E(r"alarm disarm", (r"alarm:NOSPACE",)), E(r"^echo", (r"Current revision: 1\d\d\d",)),
                 E(r"^etcdctl compact", (r"^compacted revision 1\d\d$",)), E(r"defrag --cluster", (FINISHED,)),
                 E(r"dbSize: .Status.dbSize", (r'"dbSize": \d+',))],
        options={"QUOTA_BACKEND_BYTES": "16777216"}, before=("fill 8", "history 1100", "fill 30"), after=("type etcdctl put room again",)),
    Run("2.15", [E(r"^etcdctl compact", (r"unknown shorthand flag",), (1,),
                   "a cluster younger than 1000 revisions: the number is negative, and read as a flag")],
        part=(r"CURRENT_REV=", r"# 步骤 5"), looks=True),
    Run("2.17", [E(r"^curl -k", (r"curl: \(\d+\)",), (1,), K)], looks=True, drop={r"ping": "the network"}),
    Text("2.18", "advice"),
    Run("2.19", [SAVED, RESTORE, E(r"endpoint status", (ROWS,)), E(r"^etcdctl member list", ((3, r", started, "),))],
        map={"# 步骤 2：停止所有 etcd 成员": "for m in etcd-1 etcd-2 etcd-3; do scp $(ls /backup/etcd/snapshot-*.db) $m:/backup/etcd/snapshot.db; done"},
        on={r"^systemctl (stop|start)|^mv /var/lib/etcd": ALL, r"--name=etcd-2": "etcd-2", r"--name=etcd-3": "etcd-3"},
        after=("healthy etcd-1 etcd-2 etcd-3", "keys 50"), seconds=120),
    Run("2.20", [E(r"^rm -rf", (), why="deletes the only copy; a real etcd with --force-new-cluster then has none of the keys")], members=1, real=True,
        map={"mv /etc/kubernetes/manifests/*.yaml /tmp/manifests/": "mv /etc/kubernetes/manifests/*.yaml /tmp/manifests/; systemctl stop etcd"},
        drop={r"kubectl": "Kubernetes"}, after=('options ETCD_FORCE_NEW_CLUSTER="true"', "type systemctl start etcd", "keys 0")),
    Run("2.22", [E(r"etcd-backup.sh << ", (), why="`etcdctl snapshot status` is no check with 3.6: help, exit 0", ours=())],
        after=("type env -i PATH=$PATH bash /usr/local/bin/etcd-backup.sh > /tmp/o 2>&1; cat /tmp/o; "
               "grep 'Backup completed: /backup/etcd/snapshot-' /tmp/o && ls /backup/etcd/snapshot-*.db",)),
    # ---- 3-cluster-operations ----
    Run("3.1", [E(r"member list", (STARTED,)), E(r"endpoint status", (ROWS,)), E(r"endpoint health", (HEALTHY,))], looks=True),
    Text("3.2", "a drawing"),
    Run("3.3", [E(r"member add", (*ADDED, r"etcd-4=https://10\.0\.0\.4:2380")), E(r"^etcdctl member list", ((4, r", started, etcd-\d, "),))],
        on={r"^etcd --name": "etcd-4"}, background=(r"^etcd --name",), background_wait=up("10.0.0.4")),
    Run("3.4", [E(r"member add", (r"added as learner to cluster",)), E(r"endpoint status", (r"^https://10\.0\.0\.5:2379, .*true",)),
                E(r"member promote", (r"promoted in cluster",))],
        on={r"^etcd --name": "etcd-5"}, background=(r"^etcd --name",), background_wait=up("10.0.0.5").replace("/health", "/health?serializable=true"),
        map={"--initial-cluster-state existing \\\n    ...": flags("etcd-learner", "10.0.0.5", MEMBERS + ",etcd-learner=https://10.0.0.5:2380", "existing"),
             "etcdctl member promote <learner-member-id>": f"until etcdctl member promote {member('etcd-learner')}; do sleep 0.5; done"}),
    Run("3.5", [E(r"member remove", REMOVED)], map={"<member-id>": member("etcd-3")},
        on={r"^systemctl|^rm": "etcd-3"}, after=("healthy etcd-1 etcd-2",)),
    Run("3.6", [E(r"member update", (r"^Member +[0-9a-f]+ updated in cluster",))],
        map={"<member-id>": member("etcd-3"), "new-ip": "10.0.0.13"}),
    Run("3.8", [E(r"^#!", (r"^etcd-4 added successfully$", r"^etcd-5 added successfully$", (5, r"\| started \|")))], seconds=150,
        map={"    etcdctl member add $name --peer-urls=https://${ip}:2380 --learner":
             "    until etcdctl member add $name --peer-urls=https://${ip}:2380 --learner > /root/join; do sleep 0.5; done",
             "    sleep 30": "    scp /root/join $name:/root/; ssh $name \"grep ^ETCD_ /root/join >> /etc/default/etcd; systemctl start etcd\"; " + IN_STEP}),
    Run("3.9", [E(r"^#!", (r"^etcd-4 removed$", r"^etcd-5 removed$", STARTED))], members=5, before=("lead etcd-1",)),
    Run("3.11", [E(r"endpoint health", (HEALTHY,)), E(r"member remove", REMOVED), E(r"member add", ADDED)], before=("lead etcd-1",),
        on={r"^systemctl restart": "etcd-2"}),
    Run("3.12", [E(r"^etcdctl get", (r"^1\d\d$",)), E(r"member add etcd-2", ADDED),
                 E(r"member add etcd-3", (r"^Error: ",), (1,), "after the first the cluster has a second voter that has not started, and refuses")],
        on={r"^systemctl stop": ALL}, background=(r"^etcd --name",), background_wait=up("10.0.0.1"),
        map={"--force-new-cluster \\\n    --data-dir /var/lib/etcd \\\n    ...": "--force-new-cluster " + flags("etcd-1", "10.0.0.1", MEMBERS, "new")}),
    Run("3.13", [E(r"--repair", (r"flag provided but not defined: -repair",), (1, 2), "no etcd has this flag", ours=(), tool="etcd")],
        before=("type systemctl stop etcd",),
        drop={r"^systemctl stop|^rsync": "one member's directory on another machine: two members with one identity, which can lose acknowledged writes"}),
    Text("3.14", "a drawing"),
    Run("3.15", [E(r"endpoint status", (ROWS,)), PERF], looks=True, seconds=150),
    Run("3.18", [E(r"^#!", (r"^Current leader: etcd-1$", r"^Leadership transferred from", (5, HEALTHY[1]), r"^Upgrade completed!$"))], how="by name", real=True,
        before=("lead etcd-1",), seconds=240,
        map={"https://github.com/etcd-io/etcd/releases/download/": "file:///opt/releases/",
             "    sleep 30\n": f"    {UNTIL_HEALTHY}\n", "\nsleep 30\n": f"\n{UNTIL_HEALTHY}\n"},
        after=("type etcd --version | grep Quoin", "keys 50")),
    Text("3.19", "a list of versions"),
    Run("3.20", [E(r"^#!", ((3, r"^\| +https://etcd-\d:2379 \| +true \|"), ROWS, STARTED, r"^No alarms$", (3, r"^https://etcd-\d:2379: \S+K$"),
                            (1, r"^Leader: https://")))], looks=True, short=True),
    Run("3.21", [E(r"endpoint health", (HEALTHY,)), SAVED, E(r"defrag", (FINISHED,))], special="yaml",
        drop={r"etcd-benchmark": "the benchmark's own test runs it", r"/scripts/": "somebody's own scripts"}),
    Run("3.22", special="metrics", looks=True),
    Run("3.23", [E(r"became leader", (r"became leader",))], before=("lead etcd-1",),
        map={"/var/log/etcd.log": "/var/log/journal/etcd.service"}),
    Run("3.25", [E(r"endpoint health", (HEALTHY,)), E(r"endpoint status --cluster --write-out=table", (ROWS,)), E(r"member list", (STARTED,)),
                 E(r"^curl", (r"^etcd_disk_",)), E(r"isLeader", ((1, r'"isLeader": true'), (2, r'"isLeader": false'))),
                 E(r"hashkv", ((3, r"^\| https://\S+ \| +\d+ \|"),)), E(r"dbSizeInUse", ((3, r'"dbSizeInUse": \d+'),)), E(r"^ss ", (r":23[78]\d",))],
        looks=True, map={"http://localhost:2379/metrics": "http://127.0.0.1:2381/metrics"}),
    # ---- 4-operations-course ----
    Text("4.1", "a list of addresses"),
    Run("4.2", [SAVED, STATUS], map={"/backup/etcd-snapshot-20241201-120000.db": "$(ls /backup/etcd-snapshot-*.db)"}),
    Run("4.3", [E(r"^#!", (r"^Snapshot saved at /backup/etcd/etcd-snapshot-", r"^Backup completed: /backup/etcd/etcd-snapshot-\d{8}-\d{6}\.db$"))], short=True),
    Run("4.4", [RESTORE, E(r"endpoint health", (r"127\.0\.0\.1:2379 is healthy",))], members=1, how="etcd-0",
        before=("type etcdctl snapshot save /backup/etcd-snapshot-20241201-120000.db",),
        map={"# Update etcd.service to use new data directory": "sed -i 's#/var/lib/etcd\"#/var/lib/etcd-new\"#' /etc/default/etcd"},
        after=("keys 50",)),
    Run("4.5", [E(r"endpoint status", ((1, r"^\| https://127\.0\.0\.1:2379 \|"),))], looks=True),
    Run("4.6", special="flags", looks=True),
    Run("4.7", [E(r"grep revision", (), (1,), NAMELESS), E(r"compact ", (r"^compacted revision 2$",)), E(r"  defrag$", (r"^Finished defragmenting",))],
        map={"<revision>": "2"}),
    Run("4.8", [E(r"endpoint health", (r"is healthy",)), E(r"endpoint status", (r"^\| https://127",)), E(r"member list", (STARTED,))], looks=True),
    Run("4.9", [E(r"member add", ADDED), E(r"member remove", REMOVED)],
        before=("type etcdctl member list | grep etcd-2 | cut -d, -f1 > /tmp/id",), map={"<member-id>": "$(cat /tmp/id)"}),
    Run("4.10", [E(r"grep (dbSize|quota)", (), (1,), NAMELESS)], looks=True),
    Run("4.11", [E(r"compact", (r"^compacted revision 2$",)), E(r"defrag", (r"^Finished defragmenting",))], map={"<revision>": "2"},
        drop={r"^--quota": "a flag for the unit, not a command"}),
    Run("4.12", [E(r"grep leader", (), (1,), NAMELESS)], looks=True, drop={r"^ping": "the network"}),
    Run("4.13", [E(r"endpoint status", (r"^https://127\.0\.0\.1:2379, [0-9a-f]+, 3\.6\.",))], looks=True),
    Run("4.14", [E(r"endpoint health", (r"is healthy",)), E(r"endpoint status$", (r"^https://127",)), E(r"member list", ((3, r", started, "),)),
                 E(r"grep dbSize", (), (1,), NAMELESS)], looks=True),
    # ---- 5-field-notes ----
    Run("5.1", [E(r"endpoint status", (r"^\| https://127\.0\.0\.1:2379 \|",))], looks=True),
    Run("5.2", [E(r"member list", (STARTED,)), E(r"endpoint status", (r"\| +(true|false) \| +false \|",))], looks=True, special="session"),
    Run("5.3", [E(r"endpoint status", ((2, r"^\| https://10\.0\.0\.\d:2379 \|"),))], looks=True,
        map={"10.90.4.98": "10.0.0.1", "10.90.4.97": "10.0.0.2"}),
    Text("5.4", "halves of commands; 3.4 has the whole ones"),
    Run("5.5", [E(r"endpoint status", (r"^Failed to get the status of endpoint https://10\.0\.0\.1:2379 \(context deadline exceeded\)$",
                                       (2, r"^\| https://10\.0\.0\.[23]:2379 \|")), (1,))], special="session", before=("kill etcd-1",),
        on={r".": "etcd-2"}, env={"ETCDCTL_ENDPOINTS": THREE}),
    Run("5.6", [E(r"endpoint health", (r"https://10\.0\.0\.3:2379 is unhealthy: failed to commit proposal: context deadline exceeded",
                                       (2, r"is healthy: successfully committed proposal: took = "), r"^Error: unhealthy cluster$"), (1,))],
        special="session", before=("kill etcd-3",), env={"ETCDCTL_ENDPOINTS": THREE}),
    Run("5.7", [E(r"endpoint status", ((3, r"^\| https://10\.0\.0\.\d:2379 \|"),))], special="session", looks=True, env={"ETCDCTL_ENDPOINTS": THREE}),
    Run("5.8", [E(r"endpoint status", ((3, r"^\| https://10\.0\.0\.\d:2379 \|"),)), E(r"endpoint health", (HEALTHY,))], special="session", looks=True,
        env={"ETCDCTL_ENDPOINTS": THREE}),
    Text("5.13", "OpenShift's pods"),
    Text("5.14", "a log"),
    Text("5.15", "OpenShift's state"),
    Text("5.16", "takes OpenShift's pod away; no command of a tool"),
    Run("5.17", [E(r"member list -w table", (STARTED,)), E(r"member remove", REMOVED)], map={"62bcf33650a7170a": member("etcd-3")},
        drop={r"^oc ": "OpenShift"}),
    Text("5.18", "OpenShift's patch"),
]
