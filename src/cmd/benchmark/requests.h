// The requests of put, range, txn-put and txn-mixed: one unary call an operation.
//
// Threads: the loop. A request is written into a buffer that is used again and again.
// Source: etcd's tools/benchmark; spec cli 11.
#pragma once
#include <memory>
#include <string>
#include <string_view>
#include <vector>

#include "base/prng.h"
#include "client/client.h"
#include "cmd/benchmark/arguments.h"
#include "cmd/benchmark/load.h"
#include "cmd/benchmark/report.h"

namespace quoin::cmd::bench {

class Requests {
 public:
  virtual ~Requests() = default;
  virtual const client::Method& method() const = 0;
  // The request of operation `k`, valid until the next one is made.
  virtual std::string_view make(uint64_t k) = 0;
  // Where the operation made last counts.
  virtual Report& report() = 0;
};

// The key of etcd's tool: a buffer of zeros whose beginning is overwritten with the number as Go's signed varint. A
// shorter number leaves the rest of a longer one before it, so a key is a matter of its predecessors.
class KeyBuffer {
 public:
  explicit KeyBuffer(size_t size) : bytes_(size, '\0') {}
  // `number` is not negative, and its varint fits: varint_bytes() tells.
  std::string_view write(int64_t number);
  static size_t varint_bytes(int64_t number);

 private:
  std::string bytes_;
};

std::string random_bytes(size_t size, Prng& prng);

// Of the command; `reports` outlives it: one, or for txn-mixed those of reads and writes.
std::unique_ptr<Requests> make_requests(const Arguments& arguments, std::vector<Report*> reports,
                                        uint64_t seed);

// A load of `requests`, which it takes over, with --clients workers over the connections of `engine`.
std::unique_ptr<Load> make_load(Engine& engine, std::unique_ptr<Requests> requests, uint64_t total,
                                int64_t rate, std::vector<Report*> reports);

}  // namespace quoin::cmd::bench
