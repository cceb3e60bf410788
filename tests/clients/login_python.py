"""The steps of login.py by python3-etcd3, run by the Python that has it: PORT AUTHORITY ('' for none)."""

import queue
import sys

import etcd3

PORT, AUTHORITY = int(sys.argv[1]), sys.argv[2] or None


def connect(user=None, password=None):
    return etcd3.client(host="127.0.0.1", port=PORT, user=user, password=password, ca_cert=AUTHORITY, timeout=20)


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


refused(lambda: connect("ann", "wrong"), "authentication failed, invalid user ID or password")
refused(lambda: connect().put("team/py", "1"), "user name is empty")
ann = connect("ann", "pw-ann")
ann.put("team/py", "1")
check(ann.get("team/py")[0] == b"1", "get")
refused(lambda: ann.put("other", "1"), "permission denied")
refused(lambda: list(ann.get_all()), "permission denied")
refused(lambda: ann.compact(1), "permission denied")
check(ann.transaction(compare=[ann.transactions.value("team/py") == "1"], success=[ann.transactions.put("team/py", "2")], failure=[])[0], "txn")
refused(lambda: ann.transaction(compare=[ann.transactions.value("other") == "1"], success=[], failure=[]), "permission denied")
events = queue.Queue()
watch = ann.add_watch_callback("team/py", events.put)
ann.put("team/py", "3")
check(events.get(timeout=15).events[0].value == b"3", "watch")
ann.cancel_watch(watch)
lease = ann.lease(20)
ann.put("team/leased", "1", lease=lease)
check([r.TTL for r in lease.refresh()] == [20] and list(lease.keys) == [b"team/leased"], "lease")
lease.revoke()
check(ann.get("team/leased")[0] is None, "revoked")
refused(lambda: ann.lock("team/lock", ttl=20).acquire(timeout=2), "permission denied")  # its locks are below /locks/
ann.delete_prefix("team/")
root = connect("root", "pw-root")
check([m.name for m in root.members] != [] and root.status().version, "administration")
print("ok login, rights, txn, watch, lease, lock")
