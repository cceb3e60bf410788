// Whether a member can be talked to, and since when.
//
// Threads: PeerStatus on the peer loop; ActiveTable on any thread.
#pragma once
#include <absl/container/flat_hash_map.h>

#include <mutex>
#include <optional>
#include <string_view>

#include "base/ids.h"
#include "io/clock.h"

namespace quoin::peer {

struct Context;

// What others ask: which members are active, and since when.
class ActiveTable {
 public:
  std::optional<io::MonotonicNs> since(MemberId id) const;
  void set(MemberId id, io::MonotonicNs since);
  void erase(MemberId id);

 private:
  mutable std::mutex mutex_;
  absl::flat_hash_map<MemberId, io::MonotonicNs> since_;
};

class PeerStatus {
 public:
  // `table`: null for a member that nobody asks about (a remote).
  PeerStatus(Context& context, ActiveTable* table, MemberId peer)
      : context_(context), table_(table), peer_(peer) {}
  // Gone: not active any more, without a word.
  ~PeerStatus();

  bool active() const { return active_; }
  void activate();
  // "failed to <action> <peer> on <source> (<reason>)".
  void deactivate(std::string_view source, std::string_view action, std::string_view reason);

 private:
  Context& context_;
  ActiveTable* const table_;
  const MemberId peer_;
  bool active_ = false;
};

}  // namespace quoin::peer
