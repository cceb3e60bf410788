// snapshot save, over the network; snapshot status and restore are etcdutl's, which the same engines do.
//
// Source: etcdctl/ctlv3/command/snapshot_command.go, client/v3/snapshot, client/v3/maintenance.go; spec cli 7.3.
#include "base/result.h"
#include "cmd/etcdctl/client_log.h"
#include "cmd/etcdctl/commands.h"
#include "cmd/etcdctl/dial_error.h"
#include "cmd/etcdctl/methods.h"
#include "cmd/etcdctl/output.h"
#include "cmd/etcdctl/progress_line.h"
#include "cmd/etcdctl/snapshot_file.h"
#include "cmd/etcdctl/snapshot_offline.h"
#include "cmd/text/size.h"
#include "posix/log_duration.h"

namespace quoin::ctl {
namespace {

constexpr const char* kExample =
    R"(# Save snapshot to a given file
etcdctl snapshot save /backup/etcd-snapshot.db

# Get snapshot from given address and save it to file
etcdctl snapshot save --endpoints=127.0.0.1:3000 /backup/etcd-snapshot.db

# Get snapshot from given address with certificates
etcdctl --endpoints=https://127.0.0.1:2379 --cacert=/etc/etcd/ca.crt --cert=/etc/etcd/etcd.crt --key=/etc/etcd/etcd.key snapshot save /backup/etcd-snapshot.db

# Get snapshot wih certain user and password
etcdctl --user=root --password=password123 snapshot save /backup/etcd-snapshot.db

# Get snapshot from given address with timeout
etcdctl --endpoints=https://127.0.0.1:2379 --dial-timeout=20s snapshot save /backup/etcd-snapshot.db

# Save snapshot with desirable time format
etcdctl snapshot save /mnt/backup/etcd/backup_$(date +%Y%m%d_%H%M%S).db)";

// As etcd shows it: each line set in, empty ones too.
std::string example() {
  std::string out;
  for (const char* c = kExample; *c != '\0'; ++c) {
    if (c == kExample || c[-1] == '\n') out += "  ";
    out += *c;
  }
  return out;
}

using SnapshotStream = Stream<pb::SnapshotRequest, pb::SnapshotResponse>;

template <class... A>
Ending failed(fmt::format_string<A...> f, A&&... args) {
  return fail(kExitInterrupted, f, std::forward<A>(args)...);
}

// Behind the database stands its digest; pages are multiples of 512 bytes.
bool has_digest(uint64_t size) {
  constexpr uint64_t kSectorBytes = 512, kDigestBytes = 32;
  return size % kSectorBytes == kDigestBytes;
}

class Saving {
 public:
  Saving(Client& client, const std::string& path) : client_(client), file_(path) {}
  Ending run(Deadline deadline);
  const std::string& version() const { return version_; }

 private:
  std::string endpoint() const { return client_.config().endpoints[0]; }
  void log(std::string_view logger, std::string_view text, std::initializer_list<LogField> fields = {}) {
    line_.clear();
    log_line("info", logger, text, fields);
  }
  void log_end(const std::optional<RpcError>& error);
  Ending not_opened(RpcError error);
  Ending receive(Deadline deadline);
  Ending finish();

  Client& client_;
  SnapshotFile file_;
  ProgressLine line_;
  std::string version_;  // of the storage; empty before 3.6
};

void Saving::log_end(const std::optional<RpcError>& error) {
  line_.clear();
  if (error) {
    log_line("warn", "client", "failed to receive from snapshot stream; closing",
             {{"error", error->grpc_text()}});
  } else {
    log_line("info", "client", "completed snapshot read; closing", {});
  }
}

Ending Saving::not_opened(RpcError error) {
  if (const std::string why = dial_error(read_endpoint(endpoint())); !why.empty()) {
    error.message = fmt::format(
        "latest balancer error: connection error: desc = \"transport: Error while dialing: {}\"", why);
  }
  log_line("error", "client", "streamer failed to create ClientStream", {{"error", error.grpc_text()}});
  return failed("{}", error.text());
}

// grpc++ opens a stream at once and tells of a missing connection at the first read. So what etcd's client logs when its
// stream is open comes here when that has been answered.
Ending Saving::receive(Deadline deadline) {
  auto opened = client_.stream(kSnapshot, deadline);
  if (!opened) return not_opened(opened.error());
  SnapshotStream& stream = **opened;
  stream.write(pb::SnapshotRequest());
  stream.close_send();
  pb::SnapshotResponse r;
  bool got = stream.read(r);
  if (!got) {
    const auto error = stream.finish();
    if (error && error->by_deadline) return not_opened(*error);
    log("client", "opened snapshot stream; downloading");
    log_end(error);
    return failed("{}", error ? error->grpc_text() : "EOF");
  }
  version_ = r.version();
  log("client", "opened snapshot stream; downloading");
  log("", "fetching snapshot", {{"endpoint", endpoint()}});
  while (got) {
    if (auto e = file_.append(r.blob())) return failed("could not write snapshot: {}", *e);
    line_.show(fmt::format("{} received", cmd::si_size(file_.size())));
    got = stream.read(r);
  }
  const auto error = stream.finish();
  log_end(error);
  return error ? failed("could not write snapshot: {}", error->text()) : ok();
}

Ending Saving::finish() {
  if (!has_digest(file_.size())) return failed("sha256 checksum not found [bytes: {}]", file_.size());
  if (auto e = file_.sync()) return failed("could not fsync snapshot: {}", *e);
  if (auto e = file_.close()) return failed("could not close file descriptor: {}", *e);
  return ok();
}

Ending Saving::run(Deadline deadline) {
  if (auto e = file_.open()) return failed("could not open {} ({})", file_.part(), *e);
  log("", "created temporary db file", {{"path", file_.part()}});
  const auto began = std::chrono::steady_clock::now();
  if (Ending e = receive(deadline); e.code != kExitOk) return e;
  if (Ending e = finish(); e.code != kExitOk) return e;
  const std::chrono::nanoseconds took = std::chrono::steady_clock::now() - began;
  log("", "fetched snapshot",
      {{"endpoint", endpoint()},
       {"size", cmd::si_size(file_.size())},
       {"took", posix::duration_text(took.count())},
       {"etcd-version", version_}});
  const std::string part = file_.part(), path = part.substr(0, part.rfind(".part"));
  if (auto e = file_.rename()) return failed("could not rename {} to {} ({})", part, path, *e);
  log("", "saved", {{"path", path}});
  return ok();
}

Ending run_save(Session& s) {
  if (s.words().size() != 1) return bad_arguments("snapshot save expects one argument <filename>");
  auto config = s.config();
  if (!config) return config.error();
  // Only a timeout that was asked for holds: nobody knows how much there is to send.
  const Deadline deadline = s.given("command-timeout") ? s.deadline() : Deadline::never();
  if (config->endpoints.size() != 1) {
    return failed("snapshot must be requested to one selected node, not multiple [{}]",
                  fmt::join(config->endpoints, " "));
  }
  config->logger = "client";
  auto client = Client::open(*config);
  if (!client) return failed("{}", client.error());
  Saving saving(**client, s.words()[0]);
  if (Ending e = saving.run(deadline); e.code != kExitOk) return e;
  out().line("Snapshot saved at {}", s.words()[0]);
  if (!saving.version().empty()) out().line("Server version {}", saving.version());
  return ok();
}

}  // namespace

void add_snapshot_commands(Registry& r) {
  CobraCommand& snapshot = r.root().add("snapshot <subcommand>", "Manages etcd node snapshots");
  snapshot.example = example();
  r.add(snapshot, "save <filename>", "Stores an etcd node backend snapshot to a given file", run_save)
      .example = example();
  add_offline_snapshot_commands(r, snapshot);
}

}  // namespace quoin::ctl
