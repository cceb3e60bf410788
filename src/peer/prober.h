// Asks a member every few seconds whether it is there and what its clock says: the round trip time of the metrics,
// and warnings about members that do not answer or whose clock is off.
//
// Threads: the peer loop.
#pragma once
#include <memory>
#include <string>
#include <string_view>
#include <vector>

#include "base/ids.h"
#include "io/timer.h"
#include "peer/call.h"

namespace quoin::peer {

struct Context;

class Prober {
 public:
  // As etcd has two, one on each of its kinds of connections, which the log and the metric show.
  enum class Kind : uint8_t { kMessages, kSnapshots };
  static constexpr int64_t kIntervalNs = 4 * io::kSecond;  // whatever --raft-read-timeout says, as in etcd
  static constexpr int64_t kFirstReportNs = 5 * io::kSecond;
  static constexpr int64_t kHealthyReportNs = 30 * io::kSecond;
  static constexpr int64_t kUnhealthyReportNs = 5 * io::kSecond;

  // `links`: connections are kept between two questions; null: each has its own, and 5 s to be answered.
  Prober(Context& context, Kind kind, MemberId peer, std::vector<std::string> urls, IdleLinks* links);

 private:
  void ask();
  void answered(io::MonotonicNs asked, Result<server::PeerAnswer> answer);
  void failed(std::string why);
  void report();

  Context& context_;
  const std::string_view name_;
  const MemberId peer_;
  const std::vector<std::string> urls_;
  IdleLinks* const links_;
  size_t pinned_ = 0;
  bool healthy_ = false;
  std::string error_;
  int64_t srtt_ns_ = 0, clock_difference_ns_ = 0;
  std::unique_ptr<Call> call_;
  std::unique_ptr<io::Timer> ask_timer_, report_timer_;
};

// What /raft/probing answers: {"OK":true,"Now":"2026-11-21T02:59:08.271550079Z"}.
std::string probing_answer(io::WallNs now);
// The moment of such an answer; none if it does not say OK.
Result<io::WallNs> parse_probing_answer(std::string_view body);

}  // namespace quoin::peer
