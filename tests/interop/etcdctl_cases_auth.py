"""etcdctl: users, roles and authentication, and what other commands say when they may not."""

from etcdctl_case import Case, formats
from etcdctl_cases_cluster import NO_STTY, SAVE, TOOK

FRESH = True

ROLES = [
    *formats("role list"), Case("role add r1"), Case("role add r1"), Case("role add ''"), *formats("role get r1"),
    Case("role get none"), Case("role add r2 -w json"), Case("role add r3 -w fields"), Case("role add r4 -w table"),
    Case("role add r5 -w protobuf"), *formats("role list"), Case("role delete r5"), Case("role delete r5"),
    *formats("role delete r4", only=("json",)), Case("role delete r3 -w fields"),
    Case("role grant-permission r1 read foo"), Case("role grant-permission r1 readwrite foo --prefix"),
    Case("role grant-permission r1 WRITE bar zoo"), Case("role grant-permission r1 ReadWrite zed --from-key"),
    Case("role grant-permission r1 write bar zoo extra words"), Case("role grant-permission none read foo"),
    Case("role grant-permission r2 read ''"), Case("role grant-permission r2 write '' --prefix"),
    Case("role grant-permission r2 write '' end"), Case(["role", "grant-permission", "r2", "read", "é<\"\t"]),
    Case("role grant-permission r2 read b a"), Case("role grant-permission r2 readwrite '' --from-key -w json"),
    Case("role grant-permission r2 read x -w fields"), Case("role grant-permission r2 read y -w table"),
    *formats("role get r1"), *formats("role get r2"), *formats("role get r2 --hex", only=("simple", "fields", "json")),
    Case("role revoke-permission r1 foo"), Case("role revoke-permission r1 foo"), Case("role revoke-permission r1 bar zoo"),
    Case("role revoke-permission r1 foo --prefix"), Case("role revoke-permission r1 zed --from-key -w json"),
    Case("role revoke-permission r2 '' --prefix"), Case("role revoke-permission r2 ''"), Case("role revoke-permission none a"),
    Case("role revoke-permission r2 x -w fields"), Case("role revoke-permission r2 y extra words"),
    *formats("role get r1", only=("simple", "json")),
]

USERS = [
    *formats("user list"), Case("user add u1:pw1"), Case("user add u1:pw1"), Case("user add u2 --new-user-password a:b"),
    Case("user add u:3 --new-user-password x"), Case("user add u:4 --no-password"), Case("user add u5:p:q -w json"),
    Case("user add u6 --interactive=false", stdin=" pw6 rest\n"), Case("user add u7 --interactive=false", stdin=""),
    Case("user add u8", stdin="secret\nsecret\n", mask=NO_STTY), Case("user add u8", stdin="secret\nsecret\n", mask=NO_STTY),
    Case("user add u9", stdin="  x  \nx\n", mask=NO_STTY), Case("user add u10:"), Case("user add u11:x -w fields"),
    Case("user add u12:x -w table"), Case("user add '' --no-password"),
    *formats("user list"), *formats("user get u1"), Case("user get none"), *formats("user get u1 --detail"),
    Case("user grant-role u1 r1"), Case("user grant-role u1 r2 -w json"), Case("user grant-role u1 none"),
    Case("user grant-role none r1"), Case("user grant-role u2 r1 -w fields"), Case("user grant-role u2 r2 -w table"),
    *formats("user get u1"), *formats("user get u1 --detail"), Case("user revoke-role u1 r2"), Case("user revoke-role u1 r2"),
    Case("user revoke-role u2 r1 -w json"), Case("user revoke-role none r1"),
    Case("user passwd u1 --interactive=false", stdin="pw1"), Case("user passwd none --interactive=false", stdin="x\n"),
    Case("user passwd u1", stdin="pw1\npw1\n", mask=NO_STTY), Case("user passwd u1 -w json --interactive=false", stdin="pw1\n"),
    Case("user delete u12"), Case("user delete u12"), Case("user delete u11 -w fields"), Case("user delete u10 -w json"),
    Case("user l"),
]

AUTH = [
    *formats("auth status"), Case("auth enable"), Case("auth disable"), Case("user add root:rootpw"),
    Case("put foo 1"), Case("put secret 2"), Case("auth enable"), *formats("auth status"), Case("auth status --user root:rootpw"),
    Case("user list"), Case("user list --user u1:pw1"), Case("user get u1 --user u1:pw1"), Case("role get r1 --user u1:pw1"),
    Case("role get r2 --user u1:pw1"), Case("user list --user root:wrong"), Case("user list --user u:4:x"),
    *formats("role get root --user root:rootpw"), *formats("user get root --user root:rootpw", only=("simple", "json")),
    Case("user get root --detail --user root:rootpw"), Case("role grant-permission r1 read foo --user root:rootpw"),
    Case("get foo --user u1:pw1"), Case("get secret --user u1:pw1"), Case("put foo 2 --user u1:pw1"),
    Case("member list --user u1:pw1"), Case("member list"), Case("alarm list"), Case("defrag", mask=TOOK),
    Case("member add m2 --peer-urls http://127.0.0.1:40"), Case("move-leader 1"), Case("downgrade cancel"),
    Case("snapshot save {endpoint}.db", mask=SAVE), Case("snapshot save {endpoint}.db --user u1:pw1", mask=SAVE),
    Case("lock secret --user u1:pw1"), Case("elect secret x --user u1:pw1"), Case("check perf --user u1:pw1"),
    Case("user delete root --user root:rootpw"), Case("user revoke-role root root --user root:rootpw"),
    Case("role delete root --user root:rootpw"), Case("auth disable --user u1:pw1"),
    Case("auth enable --user root:rootpw"), Case("auth disable --user root", stdin="rootpw\n", mask=NO_STTY),
    Case("auth status", env={"ETCDCTL_USER": "root:rootpw"}), Case("user delete root"), Case("auth enable"),
    Case("user add root:rootpw"), Case("auth enable"), Case("role delete root"),
]

# Passwords are hashed slowly on a busy machine.
for case in AUTH:
    case.env.setdefault("ETCDCTL_DIAL_TIMEOUT", "15s")

CASES = ROLES + USERS + AUTH
