#include "cmd/benchmark/watch_stream.h"

#include <utility>

#include "client/methods.h"
#include "cmd/benchmark/engine.h"
#include "wire/message.h"

namespace quoin::cmd::bench {

namespace rpc = wire::etcdserverpb;

void WatchStream::create(std::string_view key, int64_t start_revision, bool prev_kv) {
  if (!std::exchange(opened_, true)) client_.open(*this, client::methods::kWatch, {});
  rpc::WatchRequest request;
  rpc::WatchCreateRequest& create = request.set_create_request();
  create.key = key;
  create.start_revision = start_revision;
  create.prev_kv = prev_kv;
  client_.send(*this, wire::encode_string(request));
}

void WatchStream::cancel(int64_t watch_id) {
  rpc::WatchRequest request;
  request.set_cancel_request().watch_id = watch_id;
  client_.send(*this, wire::encode_string(request));
}

void WatchStream::listen(Listener* listener) {
  listener_ = listener;
  if (listener_ != nullptr && !lost_.empty()) listener_->on_lost(*this, lost_);
}

void WatchStream::lose(std::string why) {
  lost_ = std::move(why);
  if (listener_ != nullptr) listener_->on_lost(*this, lost_);
}

void WatchStream::on_message(std::string_view message) {
  std::vector<wire::mvccpb::Event> events = std::move(response_.events);
  events.clear();
  response_ = {};
  response_.events = std::move(events);
  if (const auto r = wire::decode(message, &response_); !r) return lose(std::string(r.error().text()));
  if (listener_ != nullptr) listener_->on_response(*this, response_);
}

void WatchStream::on_end(GrpcStatus status, std::string_view text) {
  lose(status == GrpcStatus::kOk ? "the server ended the stream" : error_text(status, text));
}

}  // namespace quoin::cmd::bench
