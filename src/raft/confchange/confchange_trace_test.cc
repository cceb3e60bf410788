// The reference's traces of configuration changes (spec raft-and-peers 20).
#include <fmt/format.h>
#include <gtest/gtest.h>

#include "raft/confchange/confchange.h"
#include "raft/describe.h"
#include "raft/trace_test.h"

namespace quoin::raft::confchange {
namespace {

class Session {
 public:
  std::string handle(const trace::Directive& d) {
    const Index last{steps_++};
    std::vector<ConfChangeSingle> changes;
    if (const std::string wrong = trace::parse_changes(d.input, changes); !wrong.empty()) return wrong;
    Result<Changed> r = Code::kInvalidArgument;
    if (d.command == "simple") {
      r = simple(tracker_, last, changes);
    } else if (d.command == "enter-joint") {
      r = enter_joint(tracker_, last, d.flag("autoleave", false), changes);
    } else if (d.command == "leave-joint") {
      if (!changes.empty()) return "this command takes no input";
      r = leave_joint(tracker_);
    } else {
      return "unknown command";
    }
    if (!r) return std::string(r.error().text());
    tracker_.config = r->config;
    tracker_.progress = r->progress;
    std::string out = describe(tracker_.config) + "\n";
    for (const auto& [id, p] : tracker_.progress) out += fmt::format("{}: {}\n", id, describe(p));
    return out;
  }

 private:
  tracker::Tracker tracker_{10, 0};
  uint64_t steps_ = 0;
};

TEST(ConfChangeTraces, Reference) {
  const std::string folder = trace::reference_folder("confchange");
  const int n = trace::run_folder(folder, [] {
    auto session = std::make_shared<Session>();
    return [session](const trace::Directive& d) { return session->handle(d); };
  });
  if (n == 0) GTEST_SKIP() << "reference traces are missing: " << folder;
  std::printf("%d directives compared\n", n);
}

}  // namespace
}  // namespace quoin::raft::confchange
