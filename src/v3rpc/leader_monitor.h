// Ends the streams of one loop whose clients asked for a leader ("hasleader: true") once there has been none for three
// samples, an election timeout apart. Whoever opens such a stream without a leader is refused at once (gate.h); a
// stream that stands costs its client more than a call, so it is given the time of an election.
//
// Many streams are ended in turns (grpc/turns.h), kEndedPerTurn at a time.
//
// Threads: confined to its loop. Bound: 48 bytes a stream in progress. Source: spec api-semantics 1.3.
#pragma once
#include <memory>
#include <string_view>
#include <vector>

#include "base/result.h"
#include "grpc/call.h"
#include "io/timer.h"

namespace quoin::v3rpc {

struct Loop;

class LeaderMonitor {
 public:
  static constexpr int kSamples = 3;
  static constexpr size_t kEndedPerTurn = 100;

  explicit LeaderMonitor(Loop& loop) : loop_(loop) {}

  // Of a stream that was let in; does nothing unless its client asked for a leader. `text` lives for ever.
  void add(const grpc::Call& call, GrpcStatus status, std::string_view text);
  void add(const grpc::Call& call) { add(call, GrpcStatus::kUnavailable, Error(Code::kNoLeader).text()); }

 private:
  struct Stream {
    grpc::CallTable* table;
    grpc::CallId id;
    GrpcStatus status;
    std::string_view text;
    bool ended() const { return table->find(id) == nullptr; }
  };
  void sample();
  void schedule();
  void end_some(std::vector<Stream> streams);

  Loop& loop_;
  std::vector<Stream> streams_;  // ended ones too, until they are as many as the others
  size_t tidy_at_ = 64;
  int without_leader_ = 0;  // samples in a row
  std::unique_ptr<io::Timer> timer_;
};

}  // namespace quoin::v3rpc
