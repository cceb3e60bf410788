"""The steps of python_etcd3.py, run by the Python that has python3-etcd3: PORT FOLDER."""

import os
import queue
import sys
import time

import etcd3
from etcd3 import exceptions

PORT = int(sys.argv[1])
FOLDER = sys.argv[2]


def check(condition, *what):
    if not condition:
        raise SystemExit(f"FAILED: {what}")


def refused(call, text):
    try:
        call()
    except Exception as e:  # pylint: disable=broad-except
        details = e.details() if hasattr(e, "details") else str(e)
        check(text in details, details, text)
        return
    check(False, "not refused", text)


def keys_and_values(c):
    c.put("py/a", "1")
    check(c.put("py/a", "2", prev_kv=True).prev_kv.value == b"1", "prev_kv")
    value, meta = c.get("py/a")
    check(value == b"2" and meta.version == 2 and meta.key == b"py/a", value, meta)
    check(c.get("py/none") == (None, None), "missing key")
    check(c.get("py/a", serializable=True)[0] == b"2", "serializable")
    for i in range(5):
        c.put(f"py/p/{i}", str(9 - i))
    check([m.key for _, m in c.get_prefix("py/p/", sort_order="descend")][0] == b"py/p/4", "descend")
    check([v for v, _ in c.get_prefix("py/p/", sort_order="ascend", sort_target="value")][0] == b"5", "by value")
    check(len(list(c.get_range("py/p/1", "py/p/3"))) == 2, "range")
    check(len(list(c.get_all())) == 6, "all")
    response = c.get_prefix_response("py/p/")
    check(response.count == 5 and not response.more, response)
    check(c.delete("py/a") is True and c.delete("py/a") is False, "delete")
    check(c.delete_prefix("py/p/").deleted == 5, "delete prefix")
    refused(lambda: c.put("", "x"), "key is not provided")


def txns(c):
    check(c.put_if_not_exists("py/t", "1") is True, "first")
    check(c.put_if_not_exists("py/t", "2") is False, "second")
    check(c.replace("py/t", "1", "3") is True and c.replace("py/t", "1", "4") is False, "replace")
    t = c.transactions
    ok, answers = c.transaction(
        compare=[t.value("py/t") == "3", t.version("py/t") > 1, t.create("py/t") > 0, t.mod("py/t") > 0],
        success=[t.put("py/t2", "x"), t.get("py/t"), t.delete("py/t")], failure=[t.get("py/none")])
    check(ok and len(answers) == 3 and answers[1][0][0] == b"3", ok, answers)
    ok, answers = c.transaction(compare=[t.value("py/t") == "3"], success=[], failure=[t.get("py/t2")])
    check(not ok and answers[0][0][0] == b"x", ok, answers)
    ok, answers = c.transaction(compare=[], success=[t.txn([t.value("py/t2") == "x"], [t.put("py/n", "1")], [])], failure=[])
    check(ok and c.get("py/n")[0] == b"1", "nested", answers)


def leases(c):
    lease = c.lease(2)
    check(lease.granted_ttl == 2, lease.granted_ttl)
    c.put("py/leased", "x", lease=lease)
    check(list(lease.keys) == [b"py/leased"], list(lease.keys))
    end = time.monotonic() + 3
    while time.monotonic() < end:
        check([r.TTL for r in lease.refresh()] == [2], "refresh")
        time.sleep(0.4)
    check(c.get("py/leased")[0] == b"x", "kept alive")
    deadline = time.monotonic() + 15
    while c.get("py/leased")[0] is not None:
        check(time.monotonic() < deadline, "not expired")
        time.sleep(0.1)
    lease = c.lease(100, 4711)
    check(c.get_lease_info(4711).grantedTTL == 100, "info")
    c.revoke_lease(4711)
    refused(lease.revoke, "requested lease not found")
    check(c.get_lease_info(4711).TTL == -1, "revoked")


def watches(c):
    events = queue.Queue()
    watch_id = c.add_watch_callback("py/w/", events.put, range_end="py/w0", prev_kv=True)
    c.put("py/w/1", "a")
    c.put("py/w/1", "b")
    c.delete("py/w/1")
    seen = []
    while len(seen) < 3:
        seen.extend(events.get(timeout=15).events)
    check([type(e).__name__ for e in seen] == ["PutEvent", "PutEvent", "DeleteEvent"], seen)
    check(seen[1].prev_value == b"a" and seen[1].value == b"b" and seen[2].prev_value == b"b", seen)
    c.cancel_watch(watch_id)
    check(len(seen) == 3 and events.empty(), "events after cancel")
    iterator, cancel = c.watch("py/w/2", start_revision=seen[0].mod_revision)
    c.put("py/w/2", "z")
    check(next(iterator).value == b"z", "from a revision")
    cancel()


def compaction(c):
    c.put("py/c", "1")
    revision = c.get("py/c")[1].mod_revision
    c.put("py/c", "2")
    last = c.get("py/c")[1].mod_revision
    c.compact(last, physical=True)
    iterator, _ = c.watch("py/c", start_revision=revision)
    try:
        next(iterator)
        check(False, "watch of a compacted revision")
    except exceptions.RevisionCompactedError as e:
        check(e.compacted_revision == last, e.compacted_revision)
    refused(lambda: c.compact(last), "required revision has been compacted")


def maintenance(c):
    status = c.status()
    check(status.version and status.db_size > 0 and status.leader is not None and status.raft_index > 0, vars(status))
    check(c.hash() > 0, "hash")
    c.defragment()
    check(list(c.list_alarms()) == [], "alarms")
    made = c.create_alarm()
    check(len(made) == 1, made)
    refused(lambda: c.put("py/full", "x"), "database space exceeded")
    check([a.alarm_type for a in c.list_alarms()] == [1], "alarm list")
    check(len(c.disarm_alarm()) == 1 and list(c.list_alarms()) == [], "disarm")
    c.put("py/full", "x")
    path = os.path.join(FOLDER, "py.db")
    with open(path, "wb") as f:
        c.snapshot(f)
    check(os.path.getsize(path) % 4096 == 32, os.path.getsize(path))
    members = list(c.members)
    check(len(members) == 1 and members[0].name == "default", members)


client = etcd3.client(host="127.0.0.1", port=PORT, timeout=20)
for step in (keys_and_values, txns, leases, watches, compaction, maintenance):
    step(client)
    print("ok", step.__name__, flush=True)
client.close()
# Its watch thread does not always end with the client.
sys.stdout.flush()
os._exit(0)
