// Source: etcdctl/ctlv3/command/lock_command.go, client/v3/concurrency/mutex.go; spec cli 7.4.
#include "cmd/etcdctl/child.h"
#include "cmd/etcdctl/client_log.h"
#include "cmd/etcdctl/commands.h"
#include "cmd/etcdctl/kv_requests.h"
#include "cmd/etcdctl/lease_session.h"
#include "cmd/etcdctl/methods.h"
#include "cmd/etcdctl/output.h"

namespace quoin::ctl {
namespace {

struct Lock {
  std::shared_ptr<LeaseSession> session;
  std::string prefix, key;
  // What the waiting came to.
  int64_t revision = 0;              // of the answer that told that it is held
  std::optional<std::string> error;  // why it is not

  void acquire();
  std::optional<std::string> release(Deadline deadline) const;
};

// One transaction puts the key and asks who was first; the oldest key holds the lock.
pb::TxnRequest claim(const Lock& lock) {
  pb::TxnRequest txn;
  auto& absent = *txn.add_compare();
  absent.set_target(pb::Compare::CREATE);
  absent.set_key(lock.key);
  absent.set_create_revision(0);
  auto& put = *txn.add_success()->mutable_request_put();
  put.set_key(lock.key);
  put.set_lease(lock.session->lease());
  txn.add_failure()->mutable_request_range()->set_key(lock.key);
  *txn.add_success()->mutable_request_range() = first_created(lock.prefix);
  *txn.add_failure()->mutable_request_range() = first_created(lock.prefix);
  return txn;
}

void Lock::acquire() {
  Client& client = session->client();
  const auto claimed = client.call(kTxn, claim(*this), Deadline::never());
  if (!claimed) {
    error = claimed.error().text();
    return;
  }
  revision = claimed->header().revision();
  const int64_t own =
      claimed->succeeded() ? revision : claimed->responses(0).response_range().kvs(0).create_revision();
  const auto& first = claimed->responses(1).response_range();
  if (first.kvs().empty() || first.kvs(0).create_revision() == own) return;
  error = session->wait_for_deletes(prefix, own - 1);
  if (error) {
    if (*error != LeaseSession::kCanceled) release(Deadline::never());
    return;
  }
  // The lease may have ended while this waited.
  pb::RangeRequest mine;
  mine.set_key(key);
  const auto got = client.call(kRange, mine, Deadline::never());
  if (!got) {
    error = got.error().text();
    release(Deadline::never());
  } else if (got->kvs().empty()) {
    error = "mutex: session is expired";
  } else {
    revision = got->header().revision();
  }
}

std::optional<std::string> Lock::release(Deadline deadline) const {
  pb::DeleteRangeRequest request;
  request.set_key(key);
  const auto r = session->client().call(kDeleteRange, request, deadline);
  if (!r) return r.error().text();
  return std::nullopt;
}

Ending run_under(const Lock& lock, const std::vector<std::string>& command) {
  const ChildEnd end =
      run_child(command, {"ETCD_LOCK_KEY=" + lock.key, fmt::format("ETCD_LOCK_REV={}", lock.revision)}, {});
  const auto release_error = lock.release(Deadline::never());
  if (!end.error.empty()) return {end.status, end.error};
  return release_error ? fail(kExitError, "{}", *release_error) : ok();
}

// Shows the key and holds the lock until a signal comes.
Ending hold(Session& s, const Lock& lock) {
  pb::RangeRequest request;
  request.set_key(lock.key);
  const auto r = lock.session->client().call(kRange, request, Deadline::never());
  if (!r) return Session::failed(r.error());
  if (r->kvs().empty()) return fail(kExitError, "lock lost on init");
  const Ending shown = s.print(*r, {.simple = [&](std::string& o) { show_get(o, *r, s.printer().hex); },
                                    .fields = [&](Fields& f) { show_get(f, *r); }});
  if (shown.code != kExitOk) return shown;
  out().flush();
  if (!lock.session->wait_for_signal()) return fail(kExitError, "session expired");
  const auto e = lock.release(Deadline::never());
  return e ? fail(kExitError, "{}", *e) : ok();
}

Ending run_lock(Session& s) {
  if (s.words().empty()) {
    return bad_arguments("lock takes a lock name argument and an optional command to execute");
  }
  auto client = s.connect();
  if (!client) return client.error();
  int64_t ttl = s.number("ttl");
  if (ttl <= 0) {
    constexpr int64_t kStandardTtl = 60;
    ttl = kStandardTtl;
    log_line("warn", (*client)->config().logger, "WithTTL(): TTL should be > 0, preserving current TTL",
             {{"current-session-ttl", ttl}});
  }
  auto session = LeaseSession::open(std::move(*client), ttl);
  if (!session) return Session::failed(session.error());
  (*session)->catch_signals();
  const auto lock = std::make_shared<Lock>();
  lock->session = *session;
  lock->prefix = s.words()[0] + "/";
  lock->key = (*session)->key_under(lock->prefix);
  if (!(*session)->run([lock] { lock->acquire(); })) {
    // Nobody waits for a lock any more that this program does not want.
    if (const auto e = lock->release(s.deadline()))
      put_error(fmt::format("the lock's key remains until its lease ends ({})\n", *e));
    return fail(kExitError, "{}", LeaseSession::kCanceled);
  }
  if (lock->error) return fail(kExitError, "{}", *lock->error);
  if (s.words().size() > 1) return run_under(*lock, {s.words().begin() + 1, s.words().end()});
  return hold(s, *lock);
}

}  // namespace

void add_lock_command(Registry& r) {
  r.add("lock <lockname> [exec-command arg1 arg2 ...]", "Acquires a named lock", run_lock)
      .flags.add({.name = "ttl", .kind = CobraFlag::Kind::kInt, .help = "timeout for session", .number = 10});
}

}  // namespace quoin::ctl
