// The auth store as a part of the state machine, with what it needs around it.
//
// The store is there before the parts of the member that hear of its changes (tokens), so its listener is set
// later: listen() tells at once whether auth is on.
//
// Threads: apply strand, but `published`, which any thread may read. Lifetime: made at start, lives as long as the
// apply stage; a received snapshot is read into another one, which it adopts.
#pragma once
#include "auth/permissions.h"
#include "auth/store.h"
#include "base/log.h"
#include "base/metrics.h"

namespace quoin::server {

class AuthStore final : public auth::Listener {
 public:
  AuthStore(metrics::Registry& metrics, log::Logger& log) : store(published, *this, metrics, log) {}

  // `listener` outlives what happens on the strand from here on.
  void listen(auth::Listener& listener) {
    listener_ = &listener;
    if (store.enabled()) listener.enabled();
  }

  // ---- auth::Listener ----
  void enabled() override {
    if (listener_ != nullptr) listener_->enabled();
  }
  void disabled() override {
    if (listener_ != nullptr) listener_->disabled();
  }
  void user_changed(std::string_view user) override {
    if (listener_ != nullptr) listener_->user_changed(user);
  }

  auth::Published published;
  auth::Store store;

 private:
  auth::Listener* listener_ = nullptr;
};

}  // namespace quoin::server
