// Source: etcdctl/ctlv3/command/elect_command.go, client/v3/concurrency/election.go; spec cli 7.5.
#include "cmd/etcdctl/commands.h"
#include "cmd/etcdctl/kv_requests.h"
#include "cmd/etcdctl/lease_session.h"
#include "cmd/etcdctl/methods.h"
#include "cmd/etcdctl/output.h"

namespace quoin::ctl {
namespace {

constexpr int64_t kTtl = 60;

Ending show(const Printer& printer, const pb::RangeResponse& r) {
  Ending e = printer.print(&r, {.simple = [&](std::string& o) { show_get(o, r, printer.hex); },
                                .fields = [&](Fields& f) { show_get(f, r); }});
  out().flush();
  return e;
}

struct Campaign {
  std::shared_ptr<LeaseSession> session;
  std::string prefix, key, proposal;
  std::atomic<int64_t> revision{0};  // at which the key was created; 0: not yet
  std::optional<std::string> error;

  void run();
  std::optional<std::string> resign(Deadline deadline) const;
};

void Campaign::run() {
  pb::TxnRequest txn;
  auto& absent = *txn.add_compare();
  absent.set_target(pb::Compare::CREATE);
  absent.set_key(key);
  absent.set_create_revision(0);
  auto& put = *txn.add_success()->mutable_request_put();
  put.set_key(key);
  put.set_value(proposal);
  put.set_lease(session->lease());
  const auto r = session->client().call(kTxn, txn, Deadline::never());
  if (!r) {
    error = r.error().text();
    return;
  }
  // The lease is new, so nobody else has this key.
  revision = r->header().revision();
  error = session->wait_for_deletes(prefix, revision - 1);
}

// Only the key that this campaign made.
std::optional<std::string> Campaign::resign(Deadline deadline) const {
  if (revision == 0) return std::nullopt;
  pb::TxnRequest txn;
  auto& mine = *txn.add_compare();
  mine.set_target(pb::Compare::CREATE);
  mine.set_key(key);
  mine.set_create_revision(revision);
  txn.add_success()->mutable_request_delete_range()->set_key(key);
  const auto r = session->client().call(kTxn, txn, deadline);
  if (!r) return r.error().text();
  return std::nullopt;
}

Ending campaign(Session& s, const std::shared_ptr<LeaseSession>& session) {
  const auto c = std::make_shared<Campaign>();
  c->session = session;
  c->prefix = s.words()[0] + "/";
  c->key = session->key_under(c->prefix);
  c->proposal = s.words()[1];
  if (!session->run([c] { c->run(); })) {
    if (const auto e = c->resign(s.deadline()))
      put_error(fmt::format("the proposal remains until its lease ends ({})\n", *e));
    return fail(kExitError, "{}", LeaseSession::kCanceled);
  }
  if (c->error) return fail(kExitError, "{}", *c->error);
  pb::RangeRequest request;
  request.set_key(c->key);
  const auto r = session->client().call(kRange, request, Deadline::never());
  if (!r) return Session::failed(r.error());
  if (const Ending shown = show(s.printer(), *r); shown.code != kExitOk) return shown;
  if (!session->wait_for_signal()) return fail(kExitError, "elect: session expired");
  const auto e = c->resign(Deadline::never());
  return e ? fail(kExitError, "{}", *e) : ok();
}

// Shows the leaders one after the other, as long as it can.
class Observer {
 public:
  Observer(std::shared_ptr<LeaseSession> session, const std::string& election, Printer printer)
      : session_(std::move(session)), prefix_(election + "/"), printer_(printer) {}
  void run() {
    while (end_.code == kExitOk && show_first() && end_.code == kExitOk && follow()) {
    }
  }
  const Ending& end() const { return end_; }  // not ok: the format is not supported

 private:
  // The oldest proposal, or the next one. False: the observation is lost.
  bool show_first();
  bool wait_for_first(pb::RangeResponse& shown);
  // What becomes of its key until that is deleted. False: lost.
  bool follow();
  void show(const pb::RangeResponse& r) { end_ = ctl::show(printer_, r); }

  const std::shared_ptr<LeaseSession> session_;
  const std::string prefix_;
  const Printer printer_;
  // etcd's answers about a later value of the leader keep these of the first.
  int64_t count_ = 0;
  bool more_ = false;
  std::string key_;
  int64_t revision_ = 0;
  Ending end_;
};

bool Observer::show_first() {
  const auto r = session_->client().call(kRange, first_created(prefix_), Deadline::never());
  if (!r) return false;
  count_ = r->count();
  more_ = r->more();
  pb::RangeResponse shown;
  *shown.mutable_header() = r->header();
  if (!r->kvs().empty()) {
    *shown.add_kvs() = r->kvs(0);
  } else if (!wait_for_first(shown)) {
    return false;
  }
  key_ = shown.kvs(0).key();
  revision_ = shown.header().revision();
  show(shown);
  return true;
}

bool Observer::wait_for_first(pb::RangeResponse& shown) {
  pb::WatchCreateRequest request;
  request.set_key(prefix_);
  request.set_range_end(prefix_end(prefix_));
  request.set_start_revision(shown.header().revision());
  const auto watcher = session_->watch(std::move(request));
  if (!watcher) return false;
  while (const auto answer = watcher->next()) {
    if (!answer->error.empty()) return false;
    for (const auto& e : answer->response.events()) {
      if (e.type() != mvccpb::Event::PUT) continue;
      *shown.mutable_header() = answer->response.header();
      shown.mutable_header()->set_revision(e.kv().mod_revision());
      *shown.add_kvs() = e.kv();
      return true;
    }
  }
  return false;
}

bool Observer::follow() {
  pb::WatchCreateRequest request;
  request.set_key(key_);
  request.set_start_revision(revision_ + 1);
  const auto watcher = session_->watch(std::move(request));
  if (!watcher) return false;
  while (const auto answer = watcher->next()) {
    if (!answer->error.empty()) return false;
    for (const auto& e : answer->response.events()) {
      if (e.type() == mvccpb::Event::DELETE) return true;
      pb::RangeResponse shown;
      *shown.mutable_header() = answer->response.header();
      *shown.add_kvs() = e.kv();
      shown.set_count(count_);
      shown.set_more(more_);
      show(shown);
      if (end_.code != kExitOk) return false;
    }
  }
  return false;
}

Ending observe(Session& s, const std::shared_ptr<LeaseSession>& session) {
  const auto observer = std::make_shared<Observer>(session, s.words()[0], s.printer());
  if (!session->run([observer] { observer->run(); })) return ok();
  return observer->end().code != kExitOk ? observer->end() : fail(kExitError, "elect: observer lost");
}

Ending run_elect(Session& s) {
  const size_t count = s.words().size();
  if (count != 1 && count != 2) {
    return bad_arguments("elect takes one election name argument and an optional proposal argument");
  }
  auto client = s.connect();
  if (!client) return client.error();
  const bool listen = s.flag("listen");
  if (count == 1 && !listen) return bad_arguments("no proposal argument but -l not set");
  if (count == 2 && listen) return bad_arguments("proposal given but -l is set");
  const auto session = LeaseSession::open(std::move(*client), kTtl);
  if (!session) return Session::failed(session.error());
  (*session)->catch_signals();
  return listen ? observe(s, *session) : campaign(s, *session);
}

}  // namespace

void add_elect_command(Registry& r) {
  r.add("elect <election-name> [proposal]", "Observes and participates in leader election", run_elect)
      .flags.add(
          {.name = "listen", .shorthand = 'l', .kind = CobraFlag::Kind::kBool, .help = "observation mode"});
}

}  // namespace quoin::ctl
