// The locks of stm. A lock is taken and let go again and again by one worker; the answer comes by a callback.
//
// Threads: the loop. The callback gets the reason if it failed, and may ask for the next thing.
// Source: etcd's client/v3/concurrency mutex.go, key.go; v3lock.proto.
#pragma once
#include <functional>
#include <memory>
#include <optional>
#include <string>

#include "client/client.h"

namespace quoin::cmd::bench {

class Mutex {
 public:
  using Done = std::function<void(const std::optional<std::string>& why)>;
  virtual ~Mutex() = default;
  // One of the two at a time.
  virtual void lock() = 0;
  virtual void unlock() = 0;
};

// A key for each worker below "stmlock/"; the one that was made first holds the lock.
std::unique_ptr<Mutex> make_key_mutex(client::Client& client, int64_t lease, Mutex::Done done);
// The server's Lock service.
std::unique_ptr<Mutex> make_server_mutex(client::Client& client, int64_t lease, Mutex::Done done);

}  // namespace quoin::cmd::bench
