// POST /raft: one message in the body.
//
// Bodies, in the making or received and not taken by raft, are bounded together. Beyond the bound only the oldest
// one that is not whole is read on, so that there is always one that comes to its end. A body whose length is not
// announced, which no member sends, may have kUnannouncedMax: it is collected in one piece.
//
// Threads: the peer loop.
#pragma once
#include <list>
#include <memory>
#include <string>

#include "http1/door.h"
#include "io/timer.h"
#include "peer/budget.h"
#include "peer/compatibility.h"

namespace quoin::peer {

struct Context;

class PostReceiver {
 public:
  static constexpr size_t kUnannouncedMax = 1 << 20;
  explicit PostReceiver(Context& context);
  ~PostReceiver();
  // A request that has passed the checks. `fields` are of the answer.
  void take(std::unique_ptr<http1::Exchange> exchange, Fields fields);
  void stop();

 private:
  struct Post;
  using Place = std::list<std::unique_ptr<Post>>::iterator;
  // A connection that ends within an answer: what was written is sent, then it is closed.
  struct Farewell;

  void received(Post& post, std::string_view piece);
  void whole(Post& post);
  void failed(Post& post, const Error& error);
  void processed(Post& post, Result<> result);
  void refuse_and_close(Post& post, std::string_view text);
  void forget(Post& post);
  bool room() const;
  void pump();

  Context& context_;
  std::shared_ptr<Budget> budget_;  // of messages that raft has not taken
  size_t receiving_bytes_ = 0;
  bool waiting_ = false;                    // for budget_
  std::list<std::unique_ptr<Post>> posts_;  // oldest first
  std::list<std::unique_ptr<Farewell>> farewells_;
};

}  // namespace quoin::peer
