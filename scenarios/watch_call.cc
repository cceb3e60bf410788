#include "scenarios/watch_call.h"

#include "wire/message.h"
#include "wire/rpc.h"

namespace quoin::scenarios {

namespace pb = wire::etcdserverpb;

WatchCall::WatchCall(std::shared_ptr<Client> client, OnMessage on_message, OnEnd on_end, OnProblem on_problem)
    : client_(std::move(client)),
      on_message_(std::move(on_message)),
      on_end_(std::move(on_end)),
      on_problem_(std::move(on_problem)) {}

void WatchCall::send(const std::string& request) {
  if (closed_) return;
  if (call_ != 0) return client_->send(call_, request);
  Client::Handler handler;
  handler.message = [self = shared_from_this()](std::string_view bytes) { self->receive(bytes); };
  handler.end = [self = shared_from_this()](GrpcStatus status, std::string_view text) {
    if (std::exchange(self->closed_, true)) return;
    self->on_end_(status, text);
  };
  call_ = client_->call("Watch/Watch", request, std::move(handler), {.half_close = false});
}

void WatchCall::create(const mvcc::WatchRequest& r) {
  pb::WatchRequest request;
  pb::WatchCreateRequest& c = request.set_create_request();
  c.key = r.key;
  c.range_end = r.range_end;
  c.start_revision = r.start_revision;
  c.watch_id = r.watch_id;
  c.progress_notify = r.progress_notify;
  c.prev_kv = r.prev_kv;
  c.fragment = r.fragment;
  if (r.no_put) c.filters.push_back(pb::WatchCreateRequest::FilterType::kNoput);
  if (r.no_delete) c.filters.push_back(pb::WatchCreateRequest::FilterType::kNodelete);
  send(wire::encode_string(request));
}

void WatchCall::cancel(int64_t watch_id) {
  pb::WatchRequest request;
  request.set_cancel_request().watch_id = watch_id;
  send(wire::encode_string(request));
}

void WatchCall::request_progress() {
  pb::WatchRequest request;
  request.set_progress_request();
  send(wire::encode_string(request));
}

void WatchCall::close() {
  if (std::exchange(closed_, true)) return;
  if (call_ != 0) client_->cancel(call_);
}

void WatchCall::receive(std::string_view bytes) {
  if (closed_) return;
  const auto r = wire::decode<pb::WatchResponse>(bytes);
  if (!r) return on_problem_("a response that can't be decoded: " + std::string(r.error().text()));
  if (!r->header || r->header->member_id == 0 || r->header->cluster_id == 0) {
    return on_problem_("a response without a header");
  }
  mvcc::WatchMessage m;
  m.watch_id = r->watch_id;
  m.header_revision = r->header->revision;
  m.created = r->created;
  m.canceled = r->canceled;
  m.fragment = r->fragment;
  m.compact_revision = r->compact_revision;
  m.cancel_reason = r->cancel_reason;
  m.event_count = r->events.size();
  if (m.event_count > 0) m.events = Blob::copy(bytes);
  on_message_(m);
}

}  // namespace quoin::scenarios
