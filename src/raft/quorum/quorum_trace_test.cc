// The reference's traces of quorum arithmetic (spec raft-and-peers 20).
#include <fmt/format.h>
#include <gtest/gtest.h>

#include <map>

#include "raft/quorum/quorum.h"
#include "raft/trace_test.h"

namespace quoin::raft::quorum {
namespace {

struct Input {
  JointVoters voters;
  bool joint = false;
  // In the order of the arguments, without repeats.
  std::vector<MemberId> order;
  std::map<MemberId, uint64_t> values;  // index, or 1 and 2 for no and yes
  std::string error;
};

MemberId member(const std::string& s) {
  return MemberId{std::strtoull(s.c_str(), nullptr, 10)};
}

Input parse(const trace::Directive& d) {
  Input in;
  std::vector<std::string> given;
  for (const trace::Argument& a : d.args) {
    if (a.key == "cfg" || a.key == "cfgj") {
      MemberSet& half = a.key == "cfg" ? in.voters.incoming : in.voters.outgoing;
      in.joint |= a.key == "cfgj";
      for (const std::string& v : a.values) {
        if (v == "zero" || v.empty()) continue;
        const MemberId id = member(v);
        if (!in.voters.contains(id)) in.order.push_back(id);
        half.insert(id);
      }
    } else {
      for (const std::string& v : a.values) {
        if (!v.empty()) given.push_back(v);
      }
    }
  }
  if (given.size() != in.order.size()) {
    std::string ids, values;
    for (MemberId id : in.voters.all()) ids += fmt::format("{}{}:{{}}", ids.empty() ? "" : " ", id);
    for (const std::string& v : given) values += (values.empty() ? "" : " ") + v;
    in.error = fmt::format("error: mismatched input (explicit or _) for voters map[{}]: [{}]", ids, values);
    return in;
  }
  for (size_t i = 0; i < given.size(); ++i) {
    if (given[i] == "_") continue;
    const bool vote = given[i] == "y" || given[i] == "n";
    in.values[in.order[i]] = vote ? 1 + (given[i] == "y") : std::strtoull(given[i].c_str(), nullptr, 10);
  }
  return in;
}

std::optional<Index> acked(const Input& in, MemberId id) {
  const auto it = in.values.find(id);
  if (it == in.values.end()) return std::nullopt;
  return Index{it->second};
}

std::string diagram(const Input& in) {
  const MemberSet ids = in.voters.all();
  const size_t n = ids.size();
  if (n == 0) return "<empty majority quorum>";
  std::vector<std::pair<Index, MemberId>> order;
  for (MemberId id : ids) order.emplace_back(acked(in, id).value_or(Index{0}), id);
  std::sort(order.begin(), order.end());
  std::map<MemberId, size_t> bar;
  for (size_t i = 0; i < n; ++i) {
    bar[order[i].second] = i > 0 && order[i - 1].first < order[i].first ? i : 0;
  }
  std::string out = std::string(n, ' ') + "    idx\n";
  for (MemberId id : ids) {
    const auto a = acked(in, id);
    out += a ? std::string(bar[id], 'x') + ">" + std::string(n - bar[id], ' ') : "?" + std::string(n, ' ');
    out += fmt::format(" {:5}    (id={})\n", a.value_or(Index{0}).v, id);
  }
  return out;
}

std::string handle(const trace::Directive& d) {
  const Input in = parse(d);
  if (!in.error.empty()) return in.error;
  if (d.command == "committed") {
    const auto ack = [&](MemberId id) { return acked(in, id); };
    const Index i = in.joint ? committed_index(in.voters, ack) : committed_index(in.voters.incoming, ack);
    return diagram(in) + (i == kEverything ? "∞" : fmt::format("{}", i)) + "\n";
  }
  if (d.command != "vote") return "unknown command";
  const auto vote = [&](MemberId id) -> std::optional<bool> {
    const auto it = in.values.find(id);
    if (it == in.values.end()) return std::nullopt;
    return it->second == 2;
  };
  static constexpr const char* kNames[] = {"VotePending", "VoteLost", "VoteWon"};
  const VoteResult r = in.joint ? vote_result(in.voters, vote) : vote_result(in.voters.incoming, vote);
  return kNames[static_cast<size_t>(r)];
}

TEST(QuorumTraces, Reference) {
  const std::string folder = trace::reference_folder("quorum");
  const int n = trace::run_folder(folder, [] { return handle; });
  if (n == 0) GTEST_SKIP() << "reference traces are missing: " << folder;
  std::printf("%d directives compared\n", n);
}

}  // namespace
}  // namespace quoin::raft::quorum
