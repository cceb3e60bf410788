#include "peer/post_receiver.h"

#include <charconv>

#include "base/check.h"
#include "http1/chunk.h"
#include "peer/arriving_blob.h"
#include "peer/context.h"
#include "peer/http_answers.h"
#include "peer/raft_bytes.h"
#include "peer/stream_codec.h"
#include "raft/codec.h"

namespace quoin::peer {

struct PostReceiver::Post final : http1::BodyReader {
  PostReceiver& owner;
  std::unique_ptr<http1::Exchange> exchange;
  Fields fields;
  Place place;
  // Of a body whose length is known, as all members send it; `text` takes the others.
  bool length_known = false;
  ArrivingBlob blob;
  std::string text;
  size_t received = 0;
  size_t unread = 0;  // of that, not told as consumed yet
  bool receiving = true;
  std::shared_ptr<int> alive = std::make_shared<int>(0);

  Post(PostReceiver& o, std::unique_ptr<http1::Exchange> e, Fields f)
      : owner(o), exchange(std::move(e)), fields(std::move(f)) {}
  void on_body(std::string_view piece) override { owner.received(*this, piece); }
  Blob take_body() { return length_known ? blob.take() : Blob::copy(text); }
  void on_body_end() override { owner.whole(*this); }
  void on_body_failed(Error error) override { owner.failed(*this, error); }
};

struct PostReceiver::Farewell final : io::StreamHandler {
  static constexpr int64_t kLingerNs = 5 * io::kSecond;
  PostReceiver& owner;
  std::unique_ptr<io::Stream> stream;
  std::unique_ptr<io::Timer> timer;
  explicit Farewell(PostReceiver& o) : owner(o) {}
  void on_data(std::string_view) override {}
  void on_eof() override { stream->close(); }
  void on_drained() override {}
  void on_closed(Result<>) override {
    timer.reset();
    owner.context_.loop.post([this, alive = std::weak_ptr<int>(alive_)] {
      if (alive.expired()) return;
      std::erase_if(owner.farewells_, [this](const auto& f) { return f.get() == this; });
    });
  }

 private:
  std::shared_ptr<int> alive_ = std::make_shared<int>(0);
};

PostReceiver::PostReceiver(Context& context)
    : context_(context), budget_(std::make_shared<Budget>(context.loop, context.probe.posted_bytes_held)) {}

PostReceiver::~PostReceiver() {
  stop();
}

void PostReceiver::stop() {
  budget_->stop();
  while (!posts_.empty()) forget(*posts_.front());
  farewells_.clear();
}

void PostReceiver::take(std::unique_ptr<http1::Exchange> exchange, Fields fields) {
  posts_.push_back(std::make_unique<Post>(*this, std::move(exchange), std::move(fields)));
  Post& post = *posts_.back();
  post.place = std::prev(posts_.end());
  const std::string_view length = post.exchange->request().field("Content-Length").value_or("");
  size_t bytes = 0;
  const auto [end, error] = std::from_chars(length.data(), length.data() + length.size(), bytes);
  post.length_known =
      error == std::errc() && end == length.data() + length.size() && bytes <= kMessageBytesMax;
  if (post.length_known) post.blob.begin(bytes);
  post.exchange->when_aborted([this, &post] { forget(post); });
  post.exchange->read_body(post, post.length_known ? kMessageBytesMax : kUnannouncedMax);
}

// ---- the body ----

bool PostReceiver::room() const {
  return receiving_bytes_ + budget_->held() <= context_.options.posted_bytes_max;
}

void PostReceiver::received(Post& post, std::string_view piece) {
  if (post.length_known) {
    CHECK_EQ(post.blob.feed(piece), piece.size());
  } else {
    post.text += piece;
  }
  post.received += piece.size();
  post.unread += piece.size();
  receiving_bytes_ += piece.size();
  context_.probe.posted_bytes_held.add(static_cast<double>(piece.size()));
  pump();
}

// Lets those be read on that may.
void PostReceiver::pump() {
  bool oldest = true;
  for (const auto& post : posts_) {
    if (!post->receiving) continue;
    if (post->unread > 0 && (oldest || room())) post->exchange->consumed(std::exchange(post->unread, 0));
    oldest = false;
  }
  if (waiting_ || room() || budget_->held() == 0) return;
  waiting_ = true;
  budget_->when_below(context_.options.posted_bytes_max / 2, [this] {
    waiting_ = false;
    pump();
  });
}

void PostReceiver::forget(Post& post) {
  receiving_bytes_ -= post.received;
  context_.probe.posted_bytes_held.add(-static_cast<double>(post.received));
  const std::unique_ptr<Post> gone = std::move(*post.place);
  posts_.erase(gone->place);
  pump();
}

void PostReceiver::failed(Post& post, const Error& error) {
  LOG(context_.log, kWarn, "failed to read Raft message", {"local-member-id", log::Hex{context_.self.v}},
      {"error", error.text()});
  context_.probe.received_failures.of(post.exchange->peer_address()).inc();
  post.exchange->respond(error_answer(400, "error reading raft message", std::move(post.fields)));
  forget(post);
}

void PostReceiver::whole(Post& post) {
  post.receiving = false;
  const size_t bytes = std::exchange(post.received, 0);
  Result<raft::Message> message = raft::decode_message(post.take_body(), kPartsBytesMax);
  receiving_bytes_ -= bytes;
  context_.probe.posted_bytes_held.add(-static_cast<double>(bytes));
  post.text = {};
  if (!message) {
    LOG(context_.log, kWarn, "failed to unmarshal Raft message",
        {"local-member-id", log::Hex{context_.self.v}}, {"error", message.error().text()});
    context_.probe.received_failures.of(post.exchange->peer_address()).inc();
    post.exchange->respond(error_answer(400, "error unmarshalling raft message", std::move(post.fields)));
    return forget(post);
  }
  context_.probe.received_bytes.of(message->from).inc(bytes);
  server::Charge charge = budget_->charge(bytes + parts_size(*message));
  context_.handler->process(std::move(*message), std::move(charge), context_.loop,
                            [this, &post, alive = std::weak_ptr<int>(post.alive)](Result<> result) {
                              if (!alive.expired()) processed(post, std::move(result));
                            });
  pump();
}

// ---- the answer ----

void PostReceiver::processed(Post& post, Result<> result) {
  if (result) {
    post.exchange->respond({204, std::move(post.fields), ""});
    return forget(post);
  }
  LOG(context_.log, kWarn, "failed to process Raft message", {"local-member-id", log::Hex{context_.self.v}},
      {"error", result.error().text()});
  refuse_and_close(post, "error processing raft message");
}

// As etcd does: the answer has no end, and the connection goes with it.
void PostReceiver::refuse_and_close(Post& post, std::string_view text) {
  http1::Response answer = error_answer(500, text, std::move(post.fields));
  http1::Exchange::Taken taken = post.exchange->take_over(500, answer.fields);
  forget(post);
  if (taken.stream == nullptr) return;
  auto farewell = std::make_unique<Farewell>(*this);
  farewell->stream = std::move(taken.stream);
  farewell->stream->set_handler(farewell.get());
  if (taken.chunked) farewell->stream->write(http1::chunk_head(answer.body.size()));
  farewell->stream->write(std::move(answer.body));
  if (taken.chunked) farewell->stream->write(std::string(http1::kChunkEnd));
  farewell->stream->shutdown();
  farewell->stream->resume_reading();
  farewell->timer = context_.timers.schedule(Farewell::kLingerNs, context_.loop,
                                             [stream = farewell->stream.get()] { stream->close(); });
  farewells_.push_back(std::move(farewell));
}

}  // namespace quoin::peer
