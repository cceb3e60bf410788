"""etcdctl: leases and endpoints."""

from etcdctl_case import FORMATS, SIZES, TOOK, Case, formats

FRESH = True

GRANT = r"lease (\w+) granted"
TTL = ((r"remaining\(\d+s\)", "remaining(Ns)"), (r'"ttl":\d+', '"ttl":N'), (r'"TTL" : \d+', '"TTL" : N'))
# A lease's own id, where no case has saved it.
ANY_ID = ((r'"ID":\d+', '"ID":N'), (r'"ID" : \w+', '"ID" : N'), (r"lease \w{16}", "lease ID"))

ENDPOINTS = [
    *formats("endpoint status", mask=(*SIZES, (r"-{3,}", "-"), (r" {2,}", " ")), only=("simple", "fields", "protobuf", "table")),
    Case("endpoint status -w json", mask=SIZES,
         meant="ours has dbSize, raftTerm, raftIndex, raftAppliedIndex, version and leaderInfo beside Status"),
    *formats("endpoint status --hex", mask=SIZES, only=("fields",)),
    *formats("endpoint health", mask=TOOK, only=("simple", "fields", "json", "protobuf")),
    Case("endpoint health -w table", mask=(*TOOK, (r" +[\d.]+(ms|µs|s) ", " T "), (r"-{3,}", "-"), (r" {2,}", " "))),
    *formats("endpoint hashkv"), Case("put a b"), *formats("endpoint hashkv --rev 1", only=("simple", "json")),
    Case("endpoint hashkv --rev 1000"), Case("endp hash"), Case("endpoint status extra words", mask=SIZES),
    Case("endpoint health --cluster --command-timeout 2s",
         mask=(*TOOK, (r"http://127.0.0.1:2\b", "<advertised>"))),
    Case("endpoint status --cluster --command-timeout 300ms -w json"),
    Case("endpoint health", env={"ETCDCTL_CLUSTER": "true", "ETCDCTL_COMMAND_TIMEOUT": "2s"}),
    Case("endpoint status --endpoints {endpoint},127.0.0.1:1 --command-timeout 3s -w simple", mask=SIZES),
    Case("endpoint status --endpoints 127.0.0.1:1 --command-timeout 300ms -w json", mask=SIZES, meant="as above"),
    Case("endpoint hashkv --endpoints {endpoint},127.0.0.1:1 --command-timeout 3s -w table"),
    Case("endpoint health --endpoints 127.0.0.1:1 --command-timeout 300ms -w json", mask=TOOK),
    Case("endpoint"), Case("endpoint foo"),
]

LEASES = [
    *formats("lease list"), *formats("lease grant 1000", mask=ANY_ID), *formats("lease grant 1000 --hex", mask=ANY_ID, only=("fields",)),
    Case("lease grant 0", mask=ANY_ID), Case("lease grant -5", mask=ANY_ID), Case("lease grant 9000000001"),
    Case("lease grant 500", save=("lease", GRANT)), Case("put lk1 v --lease {lease}"),
    *formats("get lk1", only=("simple", "fields", "json", "table")), *formats("get lk1 --hex", only=("fields",)),
    *formats("lease timetolive {lease}", mask=TTL), *formats("lease timetolive {lease} --keys", mask=TTL),
    # The order of several keys is that of a Go map in a real member.
    Case("put 'lk 2' v --lease {lease}"),
    Case("lease timetolive {lease} --keys", mask=(*TTL, (r"\[lk1 lk 2\]", "[lk 2 lk1]"))),
    *formats("lease timetolive {lease} --hex", mask=TTL, only=("fields", "simple")),
    *formats("lease timetolive 1234"), *formats("lease timetolive 1234 --keys", only=("json",)),
    *formats("lease keep-alive --once {lease}"), *formats("lease keep-alive --once {lease} --hex", only=("fields",)),
    Case("lease keep-alive {lease}", lines=1), Case("lease keep-alive {lease} -w json", lines=1),
    Case("lease keep-alive {lease} -w fields", lines=6), Case("lease keep-alive --once 1234"), Case("lease keep-alive 1234"),
    Case("lease keep-alive 1234 -w json"), Case("lease keep-alive {lease} -w table"),
    Case("put lk1 w --ignore-lease"), Case("put lk3 w --lease {lease} --ignore-lease"),
    Case("lease revoke {lease}"), Case("lease revoke {lease}"), Case("get lk1"), Case("lease timetolive {lease}"),
    *[case for f in FORMATS[1:] for case in (Case("lease grant 500", save=("lease", GRANT)),
                                             Case(f"lease revoke {{lease}} -w {f}"))],
    Case("lea gr 700", mask=ANY_ID), Case("lease list extra words", mask=((r"(?m)^\w{16}$", "ID"),)),
    Case("lease list --hex -w fields", mask=ANY_ID),
]

CASES = ENDPOINTS + LEASES
