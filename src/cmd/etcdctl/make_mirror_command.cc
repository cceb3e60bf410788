// Source: etcdctl/ctlv3/command/make_mirror_command.go, client/v3/mirror/syncer.go; spec cli 9.3.
#include <atomic>
#include <thread>

#include "base/result.h"
#include "cmd/etcdctl/commands.h"
#include "cmd/etcdctl/credentials.h"
#include "cmd/etcdctl/kv_requests.h"
#include "cmd/etcdctl/methods.h"
#include "cmd/etcdctl/output.h"
#include "cmd/etcdctl/watcher.h"

namespace quoin::ctl {
namespace {

// A client of the other cluster: it has the timeouts and limits of this command line, and files and a user of its own.
Or<std::unique_ptr<Client>> connect_destination(Session& s, const std::string& endpoint) {
  ClientConfig c;
  c.endpoints = {endpoint};
  c.dial_timeout_ns = s.duration_ns("dial-timeout");
  c.keepalive_time_ns = s.duration_ns("keepalive-time");
  c.keepalive_timeout_ns = s.duration_ns("keepalive-timeout");
  c.send_bytes_max = s.number("max-request-bytes");
  c.receive_bytes_max = s.number("max-recv-bytes");
  auto user = read_user(s.text("dest-user"), s.text("dest-password"), "Destination Password: ");
  if (!user) return tl::unexpected(std::move(user.error()));
  c.user = std::move(user->name);
  c.password = std::move(user->password);
  auto tls =
      read_tls({.certificate = s.text("dest-cert"), .key = s.text("dest-key"), .ca = s.text("dest-cacert")});
  if (!tls) return tl::unexpected(std::move(tls.error()));
  c.tls = std::move(*tls);
  c.tls.enabled = c.tls.enabled || !s.flag("dest-insecure-transport");
  auto client = Client::open(std::move(c));
  if (!client) return tl::unexpected(fail(kExitBadConnection, "{}", client.error()));
  return std::move(*client);
}

class Mirror {
 public:
  Mirror(Session& s, Client& source, Client& destination)
      : source_(source),
        destination_(destination),
        prefix_(s.text("prefix")),
        destination_prefix_(s.text("dest-prefix")),
        ops_max_(s.flags().at("max-txn-ops").unsigned_number),
        revision_(std::max<int64_t>(s.number("rev") - 1, 0)) {
    // Only a mirror from the beginning keeps the prefix by itself.
    if (revision_ == 0 && !s.flag("no-dest-prefix") && destination_prefix_.empty())
      destination_prefix_ = prefix_;
  }
  // Returns why it ended; it never ends by itself.
  std::string run();
  int64_t count() const { return count_; }

 private:
  // What there is, at one revision.
  std::optional<std::string> copy_all();
  std::optional<std::string> copy_page(const pb::RangeResponse& page);
  // What changes from then on.
  std::string follow();
  std::optional<std::string> apply(const pb::WatchResponse& r);
  std::optional<std::string> commit(pb::TxnRequest& txn);
  std::string renamed(const std::string& key) const;
  std::string range_end() const { return prefix_.empty() ? std::string(kNul) : prefix_end(prefix_); }

  Client &source_, &destination_;
  const std::string prefix_;
  std::string destination_prefix_;
  const uint64_t ops_max_;  // in one transaction
  int64_t revision_;        // all up to this is copied; 0: nothing yet
  std::atomic<int64_t> count_{0};
};

// The first place where the prefix stands, which is the beginning.
std::string Mirror::renamed(const std::string& key) const {
  std::string out = key;
  const size_t at = out.find(prefix_);
  if (at != std::string::npos) out.replace(at, prefix_.size(), destination_prefix_);
  return out;
}

std::optional<std::string> Mirror::copy_page(const pb::RangeResponse& page) {
  for (const auto& kv : page.kvs()) {
    pb::PutRequest put;
    put.set_key(renamed(kv.key()));
    put.set_value(kv.value());
    if (const auto r = destination_.call(kPut, put, Deadline::never()); !r) return r.error().text();
    ++count_;
  }
  return std::nullopt;
}

std::optional<std::string> Mirror::copy_all() {
  pb::RangeRequest any;
  any.set_key(prefix_.empty() ? "foo" : prefix_);
  const auto now = source_.call(kRange, any, Deadline::never());
  if (!now) return now.error().text();
  revision_ = now->header().revision();
  constexpr int64_t kPageKeys = 1000;
  pb::RangeRequest request;
  request.set_key(prefix_.empty() ? std::string(kNul) : prefix_);
  request.set_range_end(range_end());
  request.set_limit(kPageKeys);
  request.set_revision(revision_);
  for (;;) {
    const auto page = source_.call(kRange, request, Deadline::never());
    if (!page) return page.error().text();
    if (auto e = copy_page(*page)) return e;
    if (!page->more()) return std::nullopt;
    request.set_key(page->kvs().rbegin()->key() + std::string(kNul));
  }
}

std::optional<std::string> Mirror::commit(pb::TxnRequest& txn) {
  const auto r = destination_.call(kTxn, txn, Deadline::never());
  txn.Clear();
  if (!r) return r.error().text();
  return std::nullopt;
}

// What happened at one revision goes into one transaction, if that may be so large.
std::optional<std::string> Mirror::apply(const pb::WatchResponse& r) {
  int64_t last = 0;
  pb::TxnRequest txn;
  for (const auto& e : r.events()) {
    const int64_t revision = e.kv().mod_revision();
    const bool next_revision = last != 0 && revision > last;
    last = revision;
    if (next_revision || static_cast<uint64_t>(txn.success_size()) == ops_max_) {
      if (auto error = commit(txn)) return error;
    }
    if (e.type() == mvccpb::Event::PUT) {
      auto& put = *txn.add_success()->mutable_request_put();
      put.set_key(renamed(e.kv().key()));
      put.set_value(e.kv().value());
    } else {
      txn.add_success()->mutable_request_delete_range()->set_key(renamed(e.kv().key()));
    }
    ++count_;
  }
  return txn.success_size() > 0 ? commit(txn) : std::nullopt;
}

std::string Mirror::follow() {
  pb::WatchCreateRequest request;
  request.set_key(prefix_.empty() ? std::string(kNul) : prefix_);
  request.set_range_end(range_end());
  request.set_start_revision(revision_ + 1);
  Watcher watcher(source_, std::move(request), false);
  while (const auto answer = watcher.next()) {
    if (!answer->error.empty()) return answer->error;
    if (auto e = apply(answer->response)) return *e;
  }
  return "<nil>";  // etcd's word for a watch that ended without a reason
}

std::string Mirror::run() {
  if (revision_ == 0) {
    if (auto e = copy_all()) return *e;
  }
  return follow();
}

Ending run_make_mirror(Session& s) {
  if (s.words().size() != 1) return bad_arguments("make-mirror takes one destination argument");
  auto destination = connect_destination(s, s.words()[0]);
  if (!destination) return destination.error();
  auto source = s.connect();
  if (!source) return source.error();
  if (s.flag("no-dest-prefix") && !s.text("dest-prefix").empty()) {
    return bad_arguments("`--dest-prefix` and `--no-dest-prefix` cannot be set at the same time, choose one");
  }
  // Shared with the thread that tells the count, which goes on until the program ends.
  const auto mirror = std::make_shared<Mirror>(s, **source, **destination);
  std::thread([mirror] {
    constexpr auto kPause = std::chrono::seconds(30);
    for (;;) {
      std::this_thread::sleep_for(kPause);
      out().line("{}", mirror->count());
      out().flush();
    }
  }).detach();
  return fail(kExitError, "{}", mirror->run());
}

}  // namespace

void add_make_mirror_command(Registry& r) {
  using Kind = CobraFlag::Kind;
  CobraCommand& c = r.add("make-mirror [options] <destination>",
                          "Makes a mirror at the destination etcd cluster", run_make_mirror);
  c.flags.add({.name = "prefix", .help = "Key-value prefix to mirror"});
  c.flags.add({.name = "rev", .kind = Kind::kInt64, .help = "Specify the kv revision to start to mirror"});
  constexpr uint64_t kOpsMax = 128;
  c.flags.add({.name = "max-txn-ops",
               .kind = Kind::kUint64,
               .help = "Maximum number of operations permitted in a transaction during syncing updates.",
               .unsigned_number = kOpsMax});
  c.flags.add(
      {.name = "dest-prefix",
       .help = "destination prefix to mirror a prefix to a different prefix in the destination cluster"});
  c.flags.add({.name = "no-dest-prefix",
               .kind = Kind::kBool,
               .help = "mirror key-values to the root of the destination cluster"});
  c.flags.add({.name = "dest-cert",
               .help = "Identify secure client using this TLS certificate file for the destination cluster"});
  c.flags.add({.name = "dest-key", .help = "Identify secure client using this TLS key file"});
  c.flags.add({.name = "dest-cacert",
               .help = "Verify certificates of TLS enabled secure servers using this CA bundle"});
  c.flags.add({.name = "dest-insecure-transport",
               .kind = Kind::kBool,
               .help = "Disable transport security for client connections",
               .boolean = true});
  c.flags.add(
      {.name = "dest-user",
       .help = "Destination username[:password] for authentication (prompt if password is not supplied)"});
  c.flags.add({.name = "dest-password",
               .help =
                   "Destination password for authentication (if this option is used, --user option shouldn't "
                   "include password)"});
}

}  // namespace quoin::ctl
