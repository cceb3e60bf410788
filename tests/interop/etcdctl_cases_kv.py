"""etcdctl: help and faults of command lines, put, get, del, txn, compaction, watch."""

from etcdctl_case import Case, formats

PARENTS = ["lease", "endpoint"]
COMMANDS = ["get", "put", "del", "txn", "compaction", "watch", "version", "completion", "lease grant", "lease revoke",
            "lease timetolive", "lease list", "lease keep-alive", "endpoint health", "endpoint status",
            "endpoint hashkv", "help"]


def alone(args, **kw):
    return Case(args, server=False, **kw)


HELP = [
    *[alone(f"{c} -h") for c in PARENTS + COMMANDS],
    *[alone(f"help {c}") for c in PARENTS + COMMANDS],
    alone("lease"), alone("lease foo"), alone("lea"), alone("endp"),
    alone("help lease foo"), alone("version"), alone("version extra"), alone("vers"), alone("version -w foo"),
]

# What names all commands.
WHOLE = [
    *[alone(args, meant="ours has the commands snapshot status and snapshot restore too") for args in (
        "", "help", "-h", "--help get", "help foo", "help foo bar", "--foo", "--version")],
    alone("puts a b", meant="3.6 suggests commands in the order in which its code adds them, ours by name"),
    alone(["__complete", ""]), alone(["__complete", "--hex", ""]),
]

COMPLETION = [
    *[alone(["__complete", *words.split(" ")]) for words in (
        "lease ", "lea", "get --order ", "get --order=D", "completion ", "completion b", "completion bash ", "help le",
        "help lease ", "get -", "get --", "get -w ", "get -wj", "get --limit ", "get --limit=", "get a --foo ", "foo ",
        "lease foo ", "--endp", "--endpoints a --endp", "get --prefix --pre", "get -- ", "get -- --", "get -h ",
        "--endpoints ", "get --consistency=", "endpoint status --cl", "compl", "nothing", "get a b ",
        "lease grant ", "-w json get --sort-by ")],
    alone("__completeNoDesc le"), alone("completion"), alone("completion x"), alone("completion zsh fish"),
    *[alone(f"completion {shell}", meant="the scripts are our own") for shell in ("bash", "zsh", "fish", "powershell")],
]

FAULTS = [
    *[alone(a) for a in (
        "foo", "gte", "get --foo", "get -c", "get a --rev", "get a -w", "get a --rev x",
        "get a --rev 99999999999999999999", "get a --limit=1.5", "get a --prefix=maybe", "get --dial-timeout x",
        "get --dial-timeout 5", "get a --command-timeout 1x", "lease --foo", "lease grant --foo", "get a -wx -wy -z",
        "get ---x", "get --=x", "get", "get a b --prefix", "get a --prefix --from-key",
        "get a --keys-only --count-only", "get a --consistency x", "get a --order x", "get a --sort-by x",
        "get a --min-create-rev 5 --max-create-rev 4", "get a --min-mod-rev 5 --max-mod-rev 4", "put", "put a",
        "put a b --ignore-value", "put a b --lease zz", "put a b --lease 0x1", "put a b --lease 11111111111111111",
        "del", "del a b c", "del a --prefix --from-key", "del a b --prefix", "txn a", "compaction", "compaction a b",
        "compaction x", "compaction 0x10", "compaction 99999999999999999999", "lease grant", "lease grant x",
        "lease grant 1 2", "lease revoke", "lease revoke zz", "lease timetolive", "lease keep-alive",
        "lease keep-alive zz", "watch", "watch --", "watch a --", "get a -w foo", "put a b -w foo",
        "get a --cert=", "get a --key=", "get a --cacert=", "get a --cert x", "get a --key x", "get a --cacert /nowhere",
        "get a --cert /nowhere --key /nowhere", "--endpoints= get a", "watch a b --prefix",
        "get a --max-request-bytes 10 --max-recv-bytes 5", "get a --max-request-bytes x",
        "lease timetolive zz", "endpoint health -w foo",
        "--endpoints 127.0.0.1:1 get a --command-timeout 300ms",
        "--endpoints http://127.0.0.1:1 put a b --command-timeout 300ms",
        "--endpoints unix:///nowhere/x get a --command-timeout 300ms",
        "--endpoints 127.0.0.1:1 get a --command-timeout 0",
        "--endpoints 127.0.0.1:1 compaction 5 --command-timeout 1ns",
        "--endpoints 127.0.0.1:1 endpoint status --command-timeout 300ms",
        "--endpoints 127.0.0.1:1 endpoint status --command-timeout 300ms -w json",
        "--endpoints 127.0.0.1:1 endpoint hashkv --command-timeout 300ms",
        "--endpoints 127.0.0.1:1 get a --user a:b --dial-timeout 300ms",
        "--discovery-srv nowhere.invalid get a",
        "--endpoints {silent} get a --command-timeout 500ms",
        "--endpoints {silent} get a --user a:b --dial-timeout 500ms",
    )],
    alone("--endpoints http://127.0.0.1:1,127.0.0.1:3 del a --command-timeout 300ms",
          mask=((r"dial tcp (127.0.0.1:3|<endpoint>)", "dial tcp E"),)),
    alone("get a", env={"ETCDCTL_WRITE_OUT": "foo"}),
    alone("get a --endpoints 127.0.0.1:1", env={"ETCDCTL_ENDPOINTS": "127.0.0.1:1"}),
    alone("get a --endpoints 127.0.0.1:1", env={"ETCDCTL_ENDPOINTS": ""}),
    alone("version", env={"ETCDCTL_FOO": "x"}),
    alone("watch", env={"ETCDCTL_WATCH_RANGE_END": "w1"}),
    alone("watch a", env={"ETCDCTL_WATCH_KEY": "w1"}),
    alone("watch a -- echo", env={"ETCDCTL_WATCH_KEY": "w1"}),
    alone("put a b --lease 1 --foo"),
]

KEYS = [
    Case("get none"), *formats("get none"),
    *formats("put a 1"), *formats("put a 2 --prev-kv"), *formats("put a --ignore-lease 3"),
    Case("put b", stdin="from standard input\n"),
    Case(["put", "c", 'quo"te\n\t\x01é\u2028😀']), Case(["put", "d", "<&>"]), Case(["put", "e/1", ""]),
    Case(["put", "--", "-f", "-g"]), Case("put a 4 extra words"), Case("put x --ignore-value"),
    Case("put x y --lease 1234"), Case("put '' y"), Case("put a --ignore-value --prev-kv"),
    *formats("get a"), *formats("get '' --prefix"), *formats("get '' --from-key --limit 2"),
    *formats("get c --hex"), *formats("get a c"), *formats("get a --keys-only"),
    *formats("get a --count-only", only=("simple", "json", "fields", "table")),
    *formats("get a --print-value-only", only=("simple", "json", "fields")),
    Case("get '' --prefix --order descend --sort-by modify"), Case("get '' --prefix --order DESCEND"),
    Case("get '' --prefix --sort-by version --order ASCEND"), Case("get '' --prefix --sort-by value"),
    Case("get '' --prefix --sort-by create --order descend"), Case("get '' --prefix --sort-by key --order ascend"),
    Case("get a --consistency s"), Case("get a --rev 2"), Case("get a --rev 1000"), Case("get ''"),
    Case("get a b extra words"), Case("get '' --prefix --min-mod-rev 4"), Case("get '' --prefix --max-create-rev 3"),
    Case("get '' --prefix --limit 1 -w fields"), Case("get '' --prefix --limit 0x2 -w json"),
    Case("get a -w=json"), Case("get a -wjson"), Case("-w json get a --write-out fields"), Case("ge a"),
    Case("get a", env={"ETCDCTL_WRITE_OUT": "json"}), Case("get a", env={"ETCDCTL_API": "3"}),
    Case("get a", env={"ETCDCTL_HEX": "true"}), Case("get c", env={"ETCDCTL_DIAL_TIMEOUT": "nonsense"}),
    Case("get a", env={"ETCDCTL_FOO": "abc", "ETCDCTL_BAR": ""}),
    Case("get a --debug", mask=((r"(?s)(ETCDCTL_WRITE_OUT=simple\n).*", r"\1"), (r"ETCDCTL_ENDPOINTS=.*", "E"))),
    Case("get a --max-request-bytes 4 --max-recv-bytes 100000"),
    Case("get a --max-recv-bytes 4"),
    Case(["put", "big", "x" * 100]),
    Case("put big y --max-request-bytes 3", meant="3.6 connects before it looks at the size, and logs the peer"),
    Case("get a --user nobody:x"),
    Case("get a --user nobody", stdin="secret\n",
         mask=((r"stty: 'standard input': Inappropriate ioctl for device\n", ""),)),
    Case("get a --user nobody --password x"),
    *formats("del none"), *formats("del a --prev-kv", only=("simple",)),
    Case("put a 1"), *formats("del a --prev-kv", only=("fields",)), Case("put a 1"), *formats("del a --prev-kv", only=("json",)),
    Case("put p/1 1"), Case("put p/2 2"), Case("del p/ --prefix --prev-kv"), Case("put p/1 1"), Case("put p/2 2"),
    Case("del p/ q --range"), Case("put p/1 1"), Case("del p/ q"), Case("del -- -f"), Case("put a 7"), Case("put b 8"),
]

TXN = [
    *formats("txn", stdin='mod("a") > "0"\n\nput a "over wrote"\nget a\ndel nothing\n\nget b\n\n'),
    *formats("txn", stdin='version("zz") > "0"\n\nput a x\n\nget b\nget \'\' --prefix --keys-only\n\n'),
    *[Case("txn", stdin=s) for s in (
        "", "\n", "\n\n", 'mod("a") > "0"\n', '\n\n\n', 'val("b") = "8"\n\nget b\n\n\n', 'value("b") != `8`\n\n\nget b\n\n',
        'c("a") < "1000"\ncreate("b") > "1"\n\nget a\n\n\n', 'ver("a") = "x"\n\n\n\n', 'foo("a") = "x"\n\n\n\n', 'mod "a" > 0\n\n\n\n',
        'mod("a")>"0"\n\n\n\n', 'mod("a") >"0"\n\n\n\n', 'mod("a" ) > "0"\n\n\n\n', 'mod( "a") > "0"\n\n\n\n', 'mod(a) > "0"\n\n\n\n',
        'mod("a") > 0\n\n\n\n', 'mod("a") > "0" rest\n\n\n\n', 'mod("a") > "+1"\n\n\n\n', 'mod("a") > "0x1"\n\n\n\n',
        'val("\\x61") = "over wrote"\n\nput "\\x62\\t\\u00e9\\"" \'sin"gle\'\nget "\\x62\\t\\u00e9\\""\n\n\n',
        'val("\\q") = "x"\n\n\n\n', '\nput a\n\n\n', '\nput k\n\n\n\n', '\nfoo a\n\n\n', '\nget a --foo\n\n\n', '\nget a --limit x\n\n\n',
        '\nput a b --lease zz\n\n\n', '\nget a --prefix --from-key\n\n\n', '\nge a\n\n\n', '\nget a extra words\n\n\n',
        '\nget a --count-only\n\n\n', '\nput d 1\nput d 2\n\n\n', '\nput d 1\ndel d\n\n\n', '\n  put  d   "1"  \n \t \n\n',
        '\ndel d --prev-kv\nput n 1 --prev-kv\n\n\n', '\nget "a\n\n\n', "\nget 'a b\n\n\n", '\nput a "\\z"\n\n\n', '\ndel a b c\n\n\n',
        '\nget a -w json\n\n\n', '\nput -- -k -v\nget -- -k\ndel -- -k\n\n\n')],
    Case("txn -i", stdin='mod("a") > "0"\n\nget a\n\n\n'), Case("txn --interactive", stdin=""),
    Case("txn", stdin='\ndel a z\n\n\n'), Case("put a 1"), Case("put b 2"),
    *[Case("txn", stdin=f'lease("a") {c}\n\nget a\n\n\n') for c in ('= "0"', '> "0"', '= "7f"', '= "0x0"', '= "zz"')],
    Case("txn", stdin='mod("a") >= "0"\n\n\n\n', meant="3.6 ends with a panic at an unknown operator; ours has exit 3"),
]

WATCH = [
    Case("put w1 a"), Case("put w1 b"), Case("del w1"), Case("put w2 c"), Case("put w3 d"),
    Case("get w2 -w json", save=("rev", r'"revision":(\d+)')),
    *[Case(f"watch w1 --rev 1 -w {f}", lines=n) for f, n in (("simple", 9), ("fields", 38), ("json", 1))],
    Case("watch w1 --rev 1 --prev-kv", lines=13), Case("watch w1 w3 --rev 1", lines=12),
    Case("watch w --prefix --rev 1", lines=15), Case("watch '' --prefix --rev {rev}", lines=3),
    Case("watch w1 --rev 1 --hex", lines=9), Case("watch w1 w9 w8 --rev 1", lines=9),
    Case("watch w2 --rev 1", lines=3), Case("watch --rev 1 w2 -w protobuf", lines=0, mask=((r"(?s).*", ""),)),
    Case("watch w1 --rev 1 -w table"), Case("watch z a"), Case("watch z a -w json"), Case("watch z a -w fields"),
    Case("watch", env={"ETCDCTL_WATCH_KEY": "w1", "ETCDCTL_WATCH_RANGE_END": "w3"}, stdin="", lines=0),
    Case("watch --rev 1", env={"ETCDCTL_WATCH_KEY": "w1", "ETCDCTL_WATCH_RANGE_END": "w3"}, lines=12),
    Case("watch w2 --rev 1 -- sh -c 'env | grep ^ETCD_ | sort'", lines=7),
    Case("watch w2 --rev 1 -- false"), Case("watch w2 --rev 1 -- /nowhere/x"), Case("watch w2 --rev 1 -- nosuchprogram"),
    Case("watch w2 --rev 1 -- sh -c 'kill -9 $$'"), Case("watch w2 --rev 1 -- sh -c 'exit 7'"),
    Case("watch foo -- echo echo", timeout=2, meant="3.6 looks for the command's first word among the keys from behind"),
    Case("watch -i", stdin="watch w2 --rev 1\n", lines=3, hold=True),
    Case("watch -i", stdin="foo\n\nwatch\nwatch w2 w3 --prefix\n"), Case("watch -i", stdin=""),
    Case("watch -i", stdin="watch w2 --foo\n"), Case("watch -i", stdin="watch w2 --\n"),
    Case("watch -i", stdin="watch --rev 1\n"), Case("watch -i", stdin='watch "w2\\t" --rev x\n'),
    Case("watch -i", stdin="watch w2 --rev 1 -- sh -c 'echo $ETCD_WATCH_KEY'\n", lines=4, hold=True),
    Case("watch -i", stdin="watch --rev 1\n", env={"ETCDCTL_WATCH_KEY": "w2"}, lines=3, hold=True),
    Case("watch -i", stdin="watch w3 --rev 1\n", env={"ETCDCTL_WATCH_KEY": "w2"}),
]

COMPACTION = [
    Case("compaction 5"), Case("compaction 5"), Case("compact 100000"), Case("compaction {rev} --physical -w json"),
    Case("get a --rev 3"), Case("watch w1 --rev 1"), *formats("watch w1 --rev 1", only=("json", "fields")),
    Case("watch -i", stdin="watch w1 --rev 1\n", lines=0, hold=True, mask=((r"(?s).*", ""),)),
]

CASES = HELP + WHOLE + COMPLETION + FAULTS + KEYS + TXN + WATCH + COMPACTION
