// Answers of Range and RangeStream, held against the History.
//
// An answer tells a revision; what the store held at it is known once a read of everything has seen that
// revision. Until then the answer waits. Threads: confined to one. Problems are returned as text, or empty.
#pragma once
#include <cstdint>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include "scenarios/history.h"

namespace quoin::scenarios {

struct ReadAsked {
  std::string key, end;  // as in a RangeRequest
  int64_t revision = 0;  // 0: the newest
  int64_t limit = 0;
  bool keys_only = false, count_only = false;
  int64_t at_least = 0;  // acknowledged before; 0 for a serializable read
};

struct ReadGot {
  int64_t header_revision = 0, count = 0;
  bool more = false;
  std::vector<std::pair<std::string, KeyState>> kvs;
  // Appends an encoded KeyValue. False: it can't be decoded.
  bool add(std::string_view encoded);
};

class Reads {
 public:
  std::string add(ReadAsked asked, ReadGot got);
  std::string settle(const History& history);

 private:
  struct Answer {
    ReadAsked asked;
    ReadGot got;
    int64_t revision() const { return asked.revision > 0 ? asked.revision : got.header_revision; }
  };
  static std::string compare(const Answer& answer, const State& state);
  std::vector<Answer> waiting_;
};

}  // namespace quoin::scenarios
