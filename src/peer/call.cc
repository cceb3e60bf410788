#include "peer/call.h"

#include "base/check.h"
#include "peer/context.h"

namespace quoin::peer {

Result<Url> dialable(const Context& context, const std::string& text) {
  ASSIGN_OR_RETURN(Url url, parse_url(text));
  if (url.tls && !context.tls.credentials) {
    return make_error(Code::kUnsupported, "no TLS is configured for members: {}", text);
  }
  return url;
}

// ---- IdleLinks ----

std::unique_ptr<ClientLink> IdleLinks::take(const std::string& url) {
  const auto it = links_.find(url);
  if (it == links_.end()) return nullptr;
  while (!it->second.empty()) {
    std::unique_ptr<ClientLink> link = std::move(it->second.back().link);
    it->second.pop_back();
    if (link->reusable()) return link;
    ClientLink::retire(std::move(link));
  }
  return nullptr;
}

void IdleLinks::put(std::unique_ptr<ClientLink> link) {
  link->use(nobody_, {});
  just_put_.push_back(std::move(link));
  if (just_put_.size() > 1) return;
  context_.loop.post([this, alive = std::weak_ptr<int>(alive_)] {
    if (!alive.expired()) settle();
  });
}

void IdleLinks::settle() {
  for (std::unique_ptr<ClientLink>& link : just_put_) {
    std::vector<Idle>& idle = links_[link->url().text];
    if (!link->reusable() || idle.size() >= kPerUrlMax) {
      ClientLink::retire(std::move(link));
    } else {
      idle.push_back({std::move(link), context_.clock.monotonic()});
    }
  }
  just_put_.clear();
  if (timer_ == nullptr) timer_ = context_.timers.schedule(kIdleNs, context_.loop, [this] { sweep(); });
}

void IdleLinks::sweep() {
  timer_.reset();
  const io::MonotonicNs now = context_.clock.monotonic();
  for (auto it = links_.begin(); it != links_.end();) {
    std::erase_if(it->second, [&](Idle& idle) {
      if (idle.link->reusable() && now - idle.since < kIdleNs) return false;
      ClientLink::retire(std::move(idle.link));
      return true;
    });
    if (it->second.empty()) {
      links_.erase(it++);
    } else {
      ++it;
    }
  }
  if (!links_.empty()) timer_ = context_.timers.schedule(kIdleNs, context_.loop, [this] { sweep(); });
}

void IdleLinks::clear() {
  for (auto& [url, idle] : links_) {
    for (Idle& i : idle) ClientLink::retire(std::move(i.link));
  }
  links_.clear();
  for (std::unique_ptr<ClientLink>& link : just_put_) ClientLink::retire(std::move(link));
  just_put_.clear();
  timer_.reset();
}

// ---- Call ----

Call::Call(Context& context, const std::string& url, http1::ClientRequest request, std::string body,
           const CallLimits& limits, Done done)
    : context_(context),
      request_(std::move(request)),
      body_(std::move(body)),
      limits_(limits),
      done_(std::move(done)) {
  Result<Url> parsed = dialable(context_, url);
  if (!parsed) {
    context_.loop.post(
        [this, alive = std::weak_ptr<int>(alive_), error = std::move(parsed).error()]() mutable {
          if (!alive.expired()) end(std::move(error));
        });
    return;
  }
  url_ = std::move(*parsed);
  request_.host = url_.host;
  if (limits_.timeout_ns > 0) {
    timer_ = context_.timers.schedule(limits_.timeout_ns, context_.loop,
                                      [this] { end(Error(Code::kContextDeadlineExceeded)); });
  }
  std::unique_ptr<ClientLink> link = limits_.links ? limits_.links->take(url_.text) : nullptr;
  kept_ = link != nullptr;
  begin(kept_ ? std::move(link) : new_link());
}

Call::~Call() {
  ClientLink::retire(std::move(link_));
}

std::unique_ptr<ClientLink> Call::new_link() {
  return std::make_unique<ClientLink>(
      context_, url_, ClientLink::Times{limits_.dial_ns, limits_.silence_ns, limits_.silence_ns}, *this);
}

void Call::begin(std::unique_ptr<ClientLink> link) {
  link_ = std::move(link);
  if (kept_) link_->use(*this, {limits_.dial_ns, limits_.silence_ns, limits_.silence_ns});
  link_->send(request_, body_);
}

void Call::on_head(const http1::ResponseHead& head) {
  answer_.status = head.status;
  answer_.fields.clear();
  for (const auto& [name, value] : head.fields) answer_.fields.emplace_back(name, value);
}

void Call::on_body(std::string_view bytes) {
  if (!done_) return;
  if (answer_.body.size() + bytes.size() > limits_.answer_bytes_max) {
    return end(make_error(Code::kLimit, "the answer is longer than {} bytes", limits_.answer_bytes_max));
  }
  answer_.body += bytes;
}

void Call::on_complete() {
  if (!done_) return;
  if (limits_.links != nullptr) limits_.links->put(std::move(link_));
  end(std::move(answer_));
}

void Call::on_error(Error error) {
  if (!done_) return;
  // The other side may have ended the connection while it was idle. What it may have taken already is not sent twice
  // where that means something: a forwarded proposal would be applied twice.
  if (kept_ && !link_->answer_begun() && (!link_->request_begun() || request_.method == "GET") &&
      !link_->timed_out()) {
    kept_ = false;
    ClientLink::retire(std::move(link_));
    return begin(new_link());
  }
  end(std::move(error));
}

void Call::end(Result<server::PeerAnswer> result) {
  timer_.reset();
  ClientLink::retire(std::move(link_));
  Done done = std::exchange(done_, nullptr);
  done(std::move(result));
}

}  // namespace quoin::peer
