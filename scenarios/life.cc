#include "scenarios/life.h"

#include <fmt/format.h>

#include <charconv>

#include "base/check.h"
#include "base/coding.h"
#include "base/version.h"
#include "membership/member.h"
#include "server/admin.h"
#include "wire/message.h"
#include "wire/rpc.h"

namespace quoin::scenarios {

namespace {
constexpr int64_t kEndNs = 20 * io::kMicrosecond;
}

Life::Life(sim::World& world, sim::SimDisk& disk, const server::Config& config, uint64_t seed,
           int64_t wall_jump_ns, std::optional<Door> door, PeerNetwork* wire)
    : world_(world),
      disk_(disk),
      config_(config),
      seed_(seed),
      process_(world.start_process("member")),
      raft_(process_.executor("raft")),
      apply_(process_.executor("apply")),
      append_(process_.executor("append")),
      file_(process_.executor("file")),
      loop_(process_.executor("loop")),
      append_fs_(disk_, append_),
      file_fs_(disk_, file_),
      door_(std::move(door)) {
  log_.set_level(log::Level::kInfo);
  process_.clock().jump_wall(wall_jump_ns);
  if (wire != nullptr) peers_ = wire->join(process_, config.initial_advertise_peer_urls.front());
}

Life::~Life() {
  kill();
  front_.reset();
  port_.reset();
  member_.reset();
  peers_.reset();
}

Result<> Life::start() {
  ASSIGN_OR_RETURN(member_, server::Member::start(config_, {raft_, apply_, append_, file_, append_fs_,
                                                            file_fs_, process_.timers(), process_.clock(),
                                                            log_, metrics_, seed_, peers_.get()}));
  TRY(member_->check_data());
  if (peers_) {
    peers_->serve(
        member_->peer_handler(), [this](const server::PeerRequest& request) { return answer(request); },
        [this](const server::PeerRequest& request, PeerNetwork::Answered done) {
          return question(request, std::move(done));
        });
  }
  port_ = std::make_unique<server::ClientPort>(*member_, loop_);
  if (door_) {
    std::vector<io::Loop*> loops{&loop_};
    while (loops.size() < door_->loops) {
      loops.push_back(&process_.executor(fmt::format("loop{}", loops.size() + 1)));
    }
    front::Options options = door_->options;
    options.client = {front::Address{Net::address()}};
    options.seed = seed_;
    front_ = std::make_unique<front::Front>(std::move(options), std::move(loops), door_->net.member,
                                            process_.timers(), process_.clock(), log_, metrics_);
    front_->attach(*member_);
  }
  member_->run(
      loop_, [this] { serve(); },
      [this](Error e) {
        failure_ = std::move(e);
        if (!peers_) return;
        // As the program does: it ends. What has not left by then does not leave.
        world_.after(kEndNs, [&process = process_] { process.kill(); });
      });
  return {};
}

// What a member's peer port says, as far as it needs no waiting.
Result<server::PeerAnswer> Life::answer(const server::PeerRequest& request) {
  server::PeerAnswer out;
  out.status = 200;
  out.fields = {{"X-Etcd-Cluster-Id", hex(member_->cluster_id().v)}};
  if (request.path == "/members") {
    out.body = membership::members_json(member_->members());
  } else if (request.path == "/version") {
    const std::string version = member_->cluster_version();
    out.body = fmt::format(R"({{"etcdserver":"{}","etcdcluster":"{}"}})", kEtcdVersion,
                           version.empty() ? "not_decided" : version);
  } else if (request.path == "/downgrade/enabled") {
    out.body = member_->status().downgrade_enabled ? "true" : "false";
  } else {
    out.status = 404;
  }
  return out;
}

// And the questions that only a leader answers.
bool Life::question(const server::PeerRequest& request, PeerNetwork::Answered done) {
  static constexpr std::string_view kPromote = "/members/promote/";
  const auto error = [](unsigned status, const Error& e) {
    server::PeerAnswer out;
    out.status = status;
    out.body = e.text();
    return out;
  };
  if (request.path == "/leases") {
    const auto ask = wire::decode<wire::etcdserverpb::LeaseKeepAliveRequest>(request.body);
    CHECK(ask.has_value());
    member_->renew_here(LeaseId(ask->id), loop_, [id = ask->id, error, done](Result<int64_t> ttl) {
      if (!ttl) return done(error(ttl.error().code() == Code::kLeaseNotFound ? 404 : 500, ttl.error()));
      wire::etcdserverpb::LeaseKeepAliveResponse response;
      response.id = id;
      response.ttl = *ttl;
      server::PeerAnswer out;
      out.status = 200;
      out.body = wire::encode_string(response);
      done(std::move(out));
    });
    return true;
  }
  if (request.path.starts_with(kPromote)) {
    uint64_t id = 0;
    std::from_chars(request.path.data() + kPromote.size(), request.path.data() + request.path.size(), id);
    member_->admin().promote(
        member_->next_id(), MemberId(id), "", loop_,
        [error, done](Result<std::vector<membership::Member>> members) {
          if (!members) {
            const Code code = members.error().code();
            const bool known = code == Code::kLearnerNotReady || code == Code::kMemberNotLearner;
            return done(error(code == Code::kMemberNotFound ? 404 : known ? 412 : 500, members.error()));
          }
          server::PeerAnswer out;
          out.status = 200;
          out.body = membership::members_json(*members);
          done(std::move(out));
        });
    return true;
  }
  return false;
}

void Life::serve() {
  if (front_) {
    const Result<> bound = front_->bind_clients();
    CHECK(bound.has_value(), "{}", bound.error().text());
    front_->serve_clients();
  }
  ready_ = true;
}

bool Life::stop(int64_t max_ns) {
  auto stop_member = [this] { member_->stop(loop_, [this] { stopped_ = true; }); };
  if (front_) {
    front_->stop_clients(5 * io::kSecond, std::move(stop_member));
  } else {
    stop_member();
  }
  return world_.run_until([this] { return stopped_ || failure_; }, max_ns) && !failure_;
}

void Life::kill() {
  if (!process_.alive()) return;
  process_.kill();
  if (door_) door_->net.member.stop();
}

void Life::count(Edges* edges) const {
  metrics_.visit([edges](const metrics::Family& family) {
    for (const auto& [name, edge] :
         {std::pair("quoin_watch_queues_full_total", "watch queue full"),
          std::pair("quoin_watch_queues_drained_total", "watch queue has room again"),
          std::pair("quoin_watch_catch_ups_total", "watch catch-up on the loop")}) {
      if (family.name != name) continue;
      for (const metrics::Cell& cell : family.cells) {
        if (const auto* counter = std::get_if<const metrics::Counter*>(&cell.source)) {
          edges->met(edge, static_cast<size_t>((*counter)->value()));
        }
      }
    }
  });
}

}  // namespace quoin::scenarios
