#include "scenarios/life.h"

namespace quoin::scenarios {

Life::Life(sim::World& world, sim::SimDisk& disk, const server::Config& config, uint64_t seed,
           int64_t wall_jump_ns)
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
      file_fs_(disk_, file_) {
  log_.set_level(log::Level::kInfo);
  process_.clock().jump_wall(wall_jump_ns);
}

Life::~Life() {
  kill();
  port_.reset();
  member_.reset();
}

Result<> Life::start() {
  ASSIGN_OR_RETURN(
      member_, server::Member::start(config_, {raft_, apply_, append_, file_, append_fs_, file_fs_,
                                               process_.timers(), process_.clock(), log_, metrics_, seed_}));
  port_ = std::make_unique<server::ClientPort>(*member_, loop_);
  member_->run(
      loop_, [this] { ready_ = true; }, [this](Error e) { failure_ = std::move(e); });
  return {};
}

bool Life::stop(int64_t max_ns) {
  member_->stop(loop_, [this] { stopped_ = true; });
  return world_.run_until([this] { return stopped_ || failure_; }, max_ns) && !failure_;
}

void Life::kill() {
  process_.kill();
}

}  // namespace quoin::scenarios
