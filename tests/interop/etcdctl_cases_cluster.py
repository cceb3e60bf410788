"""etcdctl: members, maintenance, locks and elections, check and make-mirror; help and faults of these, and of users, roles
and authentication, whose calls are in etcdctl_cases_auth.py."""

from etcdctl_case import SIZES, Case, formats

FRESH = True

PARENTS = ["member", "auth", "user", "role", "alarm", "downgrade", "check"]
COMMANDS = [
    "member add", "member remove", "member update", "member promote", "member list", "auth enable", "auth disable",
    "auth status", "user add", "user delete", "user get", "user list", "user passwd", "user grant-role",
    "user revoke-role", "role add", "role delete", "role get", "role list", "role grant-permission",
    "role revoke-permission", "alarm list", "alarm disarm", "defrag", "move-leader", "downgrade validate",
    "downgrade enable", "downgrade cancel", "snapshot save", "lock", "elect", "check perf", "check datascale",
    "make-mirror"]


TOOK = ((r"took [0-9.hmnµs]*\d[hmnµs]*s\b", "took T"), (r'"took": "[^"]*"', '"took": T'))


def alone(args, **kw):
    return Case(args, server=False, **kw)


ADDED = "ours has snapshot status and restore, which 3.6 left to etcdutl"
HELP = [
    *[alone(f"{c} -h") for c in PARENTS + COMMANDS],
    *[alone(f"help {c}") for c in PARENTS + COMMANDS],
    *[alone(c) for c in PARENTS], alone("member foo"), alone("downgrade 3.5"), alone("mem add"), alone("role g"),
    alone("snapshot", meant=ADDED), alone("snapshot -h", meant=ADDED), alone("snapshot foo", meant=ADDED),
    alone("snapshot status", meant=ADDED), alone("snapshot restore --data-dir d", meant=ADDED),
]

FAULTS = [alone(a) for a in (
    "member add", "member add m2", "member add m2 m3", "member add m2 http://a HTTPS://b --peer-urls x",
    "member add m2 --peer-urls=", "member add m2 --learner=x", "member remove", "member remove xyz",
    "member remove 1 2", "member remove 0x1", "member remove -- -1", "member remove 11111111111111111",
    "member update", "member update xyz", "member update 1", "member promote", "member promote g",
    "member list --consistency x", "member list --consistency", "auth enable x", "auth disable x", "auth status x",
    "user add", "user add a b", "user add :pw", "user delete", "user get", "user get a b", "user list x", "user passwd",
    "user grant-role a", "user revoke-role a", "user add u --foo",
    "role add", "role delete", "role get", "role list x", "role grant-permission", "role grant-permission r read",
    "role grant-permission r foo k", "role grant-permission r READWRITER k",
    "role grant-permission r read k --prefix --from-key", "role grant-permission r read '' --prefix --from-key",
    "role grant-permission r read k e --prefix", "role grant-permission r read k e --from-key",
    "role revoke-permission", "role revoke-permission r", "role revoke-permission r k --prefix --from-key",
    "role revoke-permission r k e --prefix", "role revoke-permission r k e --from-key",
    "alarm list x", "alarm disarm x", "move-leader", "move-leader xyz", "move-leader 1 2",
    "downgrade validate", "downgrade validate 1 2", "downgrade validate ''", "downgrade enable", "downgrade enable 1 2",
    "downgrade enable ''", "snapshot save", "snapshot save a b", "snapshot save x -w foo",
    "snapshot save /nowhere/x", "--endpoints a,b snapshot save x",
    "--endpoints 127.0.0.1:1 snapshot save x --user a:b --dial-timeout 300ms",
    "lock", "lock --ttl x a", "elect", "elect a b c", "elect a", "elect a b -l",
    "check perf --load foo", "check datascale --load foo", "check perf --foo",
    "make-mirror", "make-mirror a b", "make-mirror 127.0.0.1:1 --dest-prefix a --no-dest-prefix",
    "make-mirror 127.0.0.1:1 --dest-cert x", "make-mirror 127.0.0.1:1 --dest-cacert /nowhere",
    "make-mirror 127.0.0.1:1 --max-txn-ops x", "make-mirror 127.0.0.1:1 --dest-user a:b --dial-timeout 300ms",
    "--endpoints 127.0.0.1:1 member list --command-timeout 300ms",
    "--endpoints 127.0.0.1:1 auth status --command-timeout 300ms",
    "--endpoints 127.0.0.1:1 alarm list --command-timeout 300ms",
    "--endpoints 127.0.0.1:1 move-leader 1 --command-timeout 300ms",
    "--endpoints 127.0.0.1:1 downgrade cancel --command-timeout 300ms",
)]
FAULTS += [
    alone("--endpoints 127.0.0.1:1 defrag --command-timeout 300ms", mask=TOOK),
    alone("--endpoints 127.0.0.1:1 defrag --cluster --command-timeout 300ms"),
    alone("user add u", stdin="\n"), alone("user add u", stdin=""), alone("user add u", stdin="a\nb\n"),
    alone("user passwd u", stdin="a\nb\n"), alone("user passwd u", stdin=""),
    alone("user add u", stdin="a\na\n", env={"ETCDCTL_WRITE_OUT": "foo"}),
]
NO_STTY = ((r"stty: 'standard input': Inappropriate ioctl for device\n", ""),)
for case in HELP + FAULTS:
    case.mask = (*case.mask, *NO_STTY)

# The id of a new member comes from the second in which it was added, and with it its place among the others: it is
# masked, and moved to the end.
NEW_ID = ((r'"ID":\d+,"peerURLs":\["http://127.0.0.1:3', r'"ID":N,"peerURLs":["http://127.0.0.1:3'),
          (r"Member +\S+ (added|removed|updated)", r"Member ID \1"), (r"(?m)^\S+, unstarted", "ID, unstarted"),
          (r"(?m)^(ID, unstarted.*)\n(.*, started.*)$", r"\2\n\1"),
          (r'CLUSTER="(.*?),default=(http[^",]*)"', r'CLUSTER="default=\2,\1"'))
UNSTARTED = ("new", r"(\w+), unstarted")
PLACE = "the new member's id comes from the second in which it was added, and with it its place"


def added(url, *rest, **kw):
    """A learner comes, is seen, and goes again."""
    return [Case(f"member add 'm \"2' --learner --peer-urls {url} {' '.join(rest)}", mask=NEW_ID, **kw),
            Case("member list", save=UNSTARTED, mask=NEW_ID), Case("member remove {new}", mask=NEW_ID)]


MEMBERS = [
    *formats("member list"), *formats("member list --hex", only=("simple", "fields", "json")),
    *formats("member list --consistency s", only=("simple", "json")), Case("member list extra words"), Case("mem l"),
    Case("member list", save=("self", r"(\w+), started")),
    *[Case(f"member add m2 --peer-urls {u}") for u in (
        "foo", "http://x", "http://x:1/y", "ftp://a:1", "http://127.0.0.1:30,foo", "http://[::1", "http://a:1,",
        "'http://a b:1'", "http://")],
    *added("http://127.0.0.1:30"), *added("http://127.0.0.1:31,http://127.0.0.1:32"),
    *[c for i, f in enumerate(("json", "fields", "table", "protobuf"))
      for c in added(f"http://127.0.0.1:3{i + 3}", "-w", f, meant=PLACE, may=True)],
    *added("unix:///tmp/x", "-w simple"),
    Case("member add m2 --learner --peer-urls http://127.0.0.1:37", mask=NEW_ID),
    Case("member list", save=UNSTARTED, mask=NEW_ID),
    *formats("member list", meant=PLACE, may=True),
    *formats("member list --hex", only=("simple", "fields", "json"), meant=PLACE, may=True),
    Case("member add m3 --learner --peer-urls http://127.0.0.1:38"), Case("member promote {new}"),
    Case("member add m3 --learner --peer-urls http://127.0.0.1:37"), Case("member promote {self}"), Case("member promote 1"),
    Case("member update {new} --peer-urls http://127.0.0.1:39", mask=NEW_ID),
    *formats("member update {new} --peer-urls http://127.0.0.1:38", only=("json", "fields", "table"), meant=PLACE, may=True),
    Case("member update {new} --peer-urls foo"), Case("member update 1 --peer-urls http://127.0.0.1:39"),
    Case("member remove {new} -w json"), Case("member remove {new}", mask=NEW_ID), Case("member remove 1"),
    Case("member remove 1 -w json"),
]

SAVE = (*TOOK, *SIZES)
# Whether the call had a connection when its nanosecond was over.
TOO_SHORT = (*SAVE, (r" while waiting for connections to become ready", ""))
MAINTENANCE = [
    *formats("alarm list"),
    *[Case(f"alarm disarm -w {f}") for f in ("simple", "json", "protobuf", "table")],
    Case("alarm disarm -w fields", meant="3.6 ends with a panic, since its answer has no header; ours shows zeros"),
    Case("defrag", mask=TOOK), Case("defrag -w json extra words", mask=TOOK), Case("defrag --cluster --command-timeout 500ms", mask=TOOK),
    Case("defrag --endpoints 127.0.0.1:1 --command-timeout 3s", mask=TOOK),
    Case("defrag", env={"ETCDCTL_COMMAND_TIMEOUT": "1ns"}, mask=TOOK),
    Case("move-leader 1"), Case("move-leader {self}"), *formats("move-leader {self}", only=("json", "fields", "table")),
    *[Case(f"downgrade {a}") for a in (
        "validate 3.6", "validate 3.5", "validate 3.5.0", "validate 3.4", "validate 3.7", "validate zz", "enable 3.6",
        "enable zz", "cancel", "cancel extra words")],
    *formats("downgrade validate 3.5"), *formats("downgrade cancel"),
    Case("snapshot save {endpoint}.db", mask=SAVE), Case("snapshot save {endpoint}.db -w json", mask=SAVE),
        Case("snapshot save --endpoints 127.0.0.1:1 --command-timeout 1s {endpoint}.db", mask=SAVE),
    Case("snapshot save {endpoint}.db --command-timeout 1ns", mask=TOO_SHORT),
    Case("snapshot save {endpoint}.db", env={"ETCDCTL_COMMAND_TIMEOUT": "1ns"}, mask=TOO_SHORT),
]

# Keys end with the lease's id.
LEASE = ((r"\b(lk|el)/\w+", r"\1/LEASE"), (r'"key":"(bG|ZW)[^"]*"', r'"key":"\1"'), (r'"lease":\d+', '"lease":N'),
         (r'"Lease" : \d+', '"Lease" : N'), (r'KEY=lk/\w+', 'KEY=lk/LEASE'))
LOCKS = [
    Case("lock lk", lines=2, mask=LEASE), Case("lock lk -w json", lines=1, mask=LEASE),
    Case("lock lk -w fields", lines=12, mask=LEASE), Case("lock lk --ttl 0", lines=2, mask=LEASE),
    Case("lock lk --ttl -3", lines=2, mask=LEASE), Case("lock lk -w table", mask=LEASE),
    Case("put other 1"),
    *[Case("lock lk2 " + c, mask=LEASE) for c in (
        "true", "false", "-- sh -c 'exit 7'", "-- sh -c 'kill -9 $$'", "-- sh -c 'kill -15 $$'", "nosuchprogram",
        "./nosuchprogram", "/tmp", "-- sh -c 'echo out; echo err >&2; cat'", "echo a b c", "--ttl 5 -- echo --ttl 7")],
    Case("lock lk3 -- sh -c 'echo $ETCD_LOCK_REV'", mask=LEASE), Case("lock lk3 -- sh -c 'echo $ETCD_LOCK_KEY'", mask=((r"lk3/\w+", "K"),)),
    Case("lock lk3 -- sh -c 'echo $ETCD_LOCK_REV'", env={"ETCD_LOCK_REV": "own"}), Case("get lk --prefix", mask=LEASE),
    Case("elect el v", lines=2, mask=LEASE), Case("elect el v -w json", lines=1, mask=LEASE),
    Case("elect el v -w fields", lines=12, mask=LEASE), Case("elect el v -w table"), Case("get el --prefix", mask=LEASE),
    Case("put el2/1 first"), Case("put el2/2 second"), Case("elect -l el2", lines=2), Case("elect el2 --listen -w json", lines=1),
    Case("elect el2 -l -w fields", lines=12), Case("elect el2 -l -w table"),
    Case("lock lk2 mkdir {endpoint}"), Case("snapshot save {endpoint}", mask=SAVE),
]

CHECK = [
    Case("put /etcdctl-check-perf/x 1"), Case("check perf"), Case("check perf --load xLarge --prefix /etcdctl-check-perf/"),
    Case("put d/x 1"), Case("check datascale --prefix d/"), Case("check datascale --load s --prefix /etcdctl-check-p"),
]

# Last: some seconds later the server begins to go down.
DOWNGRADE = [Case("downgrade enable 3.5 -w json"), Case("downgrade enable 3.5")]

CASES = HELP + FAULTS + MEMBERS + MAINTENANCE + LOCKS + CHECK + DOWNGRADE
