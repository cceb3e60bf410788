#include "peer/prober.h"

#include "http1/server_connection.h"
#include "peer/context.h"
#include "peer/rfc3339.h"

namespace quoin::peer {
namespace {

// The value of a member of a flat JSON object: up to the next ',' or '}', or within quotes.
std::string_view json_value(std::string_view object, std::string_view name) {
  const std::string key = fmt::format("\"{}\"", name);
  size_t at = object.find(key);
  if (at == std::string_view::npos) return {};
  at = object.find_first_not_of(" \t\r\n", at + key.size());
  if (at == std::string_view::npos || object[at] != ':') return {};
  at = object.find_first_not_of(" \t\r\n", at + 1);
  if (at == std::string_view::npos) return {};
  const bool quoted = object[at] == '"';
  if (quoted) ++at;
  const size_t end = object.find_first_of(quoted ? "\"" : ",} \t\r\n", at);
  return end == std::string_view::npos ? std::string_view() : object.substr(at, end - at);
}

}  // namespace

std::string probing_answer(io::WallNs now) {
  return fmt::format("{{\"OK\":true,\"Now\":\"{}\"}}\n", rfc3339(now));
}

Result<io::WallNs> parse_probing_answer(std::string_view body) {
  if (json_value(body, "OK") != "true") return Error(Code::kMalformed, "not OK");
  const auto now = parse_rfc3339(json_value(body, "Now"));
  if (!now) return Error(Code::kMalformed, "no time in the answer");
  return *now;
}

Prober::Prober(Context& context, Kind kind, MemberId peer, std::vector<std::string> urls, IdleLinks* links)
    : context_(context),
      name_(kind == Kind::kMessages ? "ROUND_TRIPPER_RAFT_MESSAGE" : "ROUND_TRIPPER_SNAPSHOT"),
      peer_(peer),
      urls_(std::move(urls)),
      links_(links) {
  ask_timer_ = context_.timers.schedule(kIntervalNs, context_.loop, [this] { ask(); });
  report_timer_ = context_.timers.schedule(kFirstReportNs, context_.loop, [this] { report(); });
}

void Prober::ask() {
  ask_timer_ = context_.timers.schedule(kIntervalNs, context_.loop, [this] { ask(); });
  if (call_ != nullptr) return;  // not answered yet: the tick is lost, as a ticker's is
  http1::ClientRequest request;
  request.target = "/raft/probing";
  const CallLimits limits{.dial_ns = context_.options.dial_timeout_ns,
                          .silence_ns = links_ != nullptr ? 4 * context_.options.read_timeout_ns
                                                          : context_.options.read_timeout_ns,
                          .links = links_};
  call_ =
      std::make_unique<Call>(context_, urls_[pinned_], std::move(request), "", limits,
                             [this, asked = context_.clock.monotonic()](Result<server::PeerAnswer> answer) {
                               answered(asked, std::move(answer));
                             });
}

void Prober::answered(io::MonotonicNs asked, Result<server::PeerAnswer> answer) {
  const std::unique_ptr<Call> over = std::move(call_);
  if (!answer) return failed(std::string(answer.error().text()));
  if (answer->status != 200) {
    return failed(fmt::format("got unexpected HTTP status code {} {} from {}/raft/probing", answer->status,
                              http1::reason_phrase(answer->status), urls_[pinned_]));
  }
  const Result<io::WallNs> now = parse_probing_answer(answer->body);
  if (!now) return failed(std::string(now.error().text()));
  healthy_ = true;
  error_.clear();
  srtt_ns_ = (7 * srtt_ns_ + (context_.clock.monotonic() - asked)) / 8;
  clock_difference_ns_ = context_.clock.wall() - *now - srtt_ns_ / 2;
}

void Prober::failed(std::string why) {
  healthy_ = false;
  error_ = std::move(why);
  pinned_ = (pinned_ + 1) % urls_.size();
}

void Prober::report() {
  report_timer_ = context_.timers.schedule(healthy_ ? kHealthyReportNs : kUnhealthyReportNs, context_.loop,
                                           [this] { report(); });
  // Without an error, as before the first answer, the field is left out.
  if (!healthy_ && error_.empty()) {
    LOG(context_.log, kWarn, "prober detected unhealthy status", {"round-tripper-name", name_},
        {"remote-peer-id", log::Hex{peer_.v}}, {"rtt", log::Duration{srtt_ns_}});
  } else if (!healthy_) {
    LOG(context_.log, kWarn, "prober detected unhealthy status", {"round-tripper-name", name_},
        {"remote-peer-id", log::Hex{peer_.v}}, {"rtt", log::Duration{srtt_ns_}}, {"error", error_});
  }
  if (clock_difference_ns_ > io::kSecond && error_.empty()) {
    LOG(context_.log, kWarn, "prober found high clock drift", {"round-tripper-name", name_},
        {"remote-peer-id", log::Hex{peer_.v}}, {"clock-drift", log::Duration{clock_difference_ns_}},
        {"rtt", log::Duration{srtt_ns_}});
  } else if (clock_difference_ns_ > io::kSecond) {
    LOG(context_.log, kWarn, "prober found high clock drift", {"round-tripper-name", name_},
        {"remote-peer-id", log::Hex{peer_.v}}, {"clock-drift", log::Duration{clock_difference_ns_}},
        {"rtt", log::Duration{srtt_ns_}}, {"error", error_});
  }
  context_.probe.round_trip_seconds.of(peer_).observe(static_cast<double>(srtt_ns_) /
                                                      static_cast<double>(io::kSecond));
}

}  // namespace quoin::peer
