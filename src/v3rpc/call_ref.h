// The only way by which the answer to work that left the loop comes back to its call.
//
// A call may end, and its listener be destroyed, while the work is under way (RST_STREAM, deadline, lost
// connection, stop). So a callback keeps no pointer to a Call or to a StreamListener; it keeps one of these
// references, and what it runs does not run at all once the call has ended:
//
//   CallRef          of any call:           CallRef(call).then([this](grpc::Call& c, Result<> r) { ... })
//   StreamRef<L>     of a stream's listener: self().then(&L::answered, lease)
//
// A callback of StreamRef is a member function and the values bound to it. It has no capture list, so it
// can't carry `this` or a reference into the listener by mistake, and a bound pointer or view does not
// compile. Services (KvService, ...) outlive the calls of their loop; a callback may keep those.
//
// Threads: a reference may be made, run and asked on the call's loop only; it may be carried, copied and
// dropped on any thread. Lifetime: the CallTable outlives the references.
#pragma once
#include <functional>
#include <memory>
#include <string_view>
#include <type_traits>
#include <utility>

#include "grpc/call.h"

namespace quoin::v3rpc {

class CallRef {
 public:
  explicit CallRef(const grpc::Call& call) : table_(&call.table()), id_(call.id()), work_(call.work()) {}

  bool ended() const { return table_->find(id_) == nullptr; }
  bool is(const grpc::Call& call) const { return id_ == call.id(); }
  // Runs `f(grpc::Call&)` unless the call has ended.
  template <class F>
  void with(F&& f) const {
    if (grpc::Call* call = table_->find(id_)) std::invoke(std::forward<F>(f), *call);
  }
  // A callback that runs `f(grpc::Call&, results...)` unless the call has ended.
  template <class F>
  auto then(F f) const {
    return [ref = *this, f = std::move(f)](auto&&... results) mutable {
      ref.with([&](grpc::Call& call) { std::invoke(f, call, std::forward<decltype(results)>(results)...); });
    };
  }
  // The same for work whose end means something without the call too: nullptr once the call has ended.
  template <class F>
  auto always_then(F f) const {
    return [ref = *this, f = std::move(f)](auto&&... results) mutable {
      std::invoke(f, ref.table_->find(ref.id_), std::forward<decltype(results)>(results)...);
    };
  }

 private:
  grpc::CallTable* table_;
  grpc::CallId id_;
  // Tells the connection that something is done for the call, until the reference is dropped.
  std::shared_ptr<const void> work_;
};

// What a callback may keep beside its reference: values, nothing that points into a listener.
template <class T>
concept BoundValue = !std::is_pointer_v<T> && !std::is_reference_v<T> && !std::is_same_v<T, std::string_view>;

template <class Listener>
class StreamRef {
 public:
  // Runs `method` unless the call has ended.
  void with(void (Listener::*method)()) const {
    ref_.with([&](grpc::Call&) { (listener_->*method)(); });
  }
  // A callback that runs `(listener.*method)(bound..., results...)` unless the call has ended.
  template <class Method, BoundValue... Bound>
  auto then(Method method, Bound... bound) const {
    static_assert(std::is_member_function_pointer_v<Method>, "a callback of a stream is a member function");
    return [*this, method, ... bound = std::move(bound)](auto&&... results) mutable {
      ref_.with([&](grpc::Call&) {
        (listener_->*method)(std::move(bound)..., std::forward<decltype(results)>(results)...);
      });
    };
  }

 private:
  template <class L>
  friend class StreamBase;
  StreamRef(const grpc::Call& call, Listener* listener) : ref_(call), listener_(listener) {}

  CallRef ref_;
  Listener* listener_;  // alive as long as the call has not ended; read only inside ref_.with()
};

// A listener that waits for answers. While the call has not ended the listener lives (grpc::StreamHandler).
template <class Self>
class StreamBase : public grpc::StreamListener {
 protected:
  explicit StreamBase(grpc::Call& call) : call_(call) {}
  StreamRef<Self> self() { return StreamRef<Self>(call_, static_cast<Self*>(this)); }

  grpc::Call& call_;
};

}  // namespace quoin::v3rpc
