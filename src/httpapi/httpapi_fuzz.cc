// Any request line and headers: "METHOD target\nName: value\n...\n\nbody". Every request is answered exactly once
// with a status of HTTP, and the page parses its own encodings.
#include <cstdint>
#include <cstdlib>

#include "base/check.h"
#include "httpapi/httpapi.h"

namespace {

using namespace quoin;

class Source final : public httpapi::HealthSource, public httpapi::PeerSource {
 public:
  std::vector<httpapi::Alarm> alarms() override { return {}; }
  bool has_leader() override { return true; }
  bool is_learner() override { return false; }
  void probe_read(bool, absl::AnyInvocable<void(Result<>)> done) override { done({}); }
  std::string cluster_version() override { return "3.6.0"; }
  std::string storage_version() override { return "3.6.0"; }
  std::string cluster_id() override { return "a1"; }
  std::string members_json() override { return "[]"; }
  bool downgrade_enabled() override { return false; }
  void linearizable_read(Done<void> done) override { done({}); }
  void promote(uint64_t, std::string, Done<std::string> done) override { done(Error(Code::kMemberNotFound)); }
  void hash_kv(int64_t revision, Done<httpapi::PeerHash> done) override {
    done(httpapi::PeerHash{revision, 1, -1, revision});
  }
  void renew_lease(int64_t id, Done<int64_t> done) override { done(id); }
  void lease_times(int64_t id, bool keys, Done<httpapi::PeerLease> done) override {
    done(httpapi::PeerLease{id, 1, keys ? std::vector<std::string>{"k"} : std::vector<std::string>{}});
  }
};

}  // namespace

extern "C" int LLVMFuzzerTestOneInput(const uint8_t* data, size_t size) {
  static Source source;
  static metrics::Registry registry;
  static httpapi::Endpoints endpoints(source, registry, log::null_logger(),
                                      {.cors = {"http://a"}, .host_whitelist = {"a", "b"}});
  static const bool peers = [] {
    endpoints.set_peer_source(source);
    return true;
  }();
  CHECK(peers);
  std::string_view text(reinterpret_cast<const char*>(data), size);
  const auto line = [&text] {
    const size_t end = text.find('\n');
    const std::string_view l = text.substr(0, end);
    text.remove_prefix(end == std::string_view::npos ? text.size() : end + 1);
    return l;
  };
  httpapi::Request r;
  const std::string_view head = line();
  const size_t blank = head.find(' ');
  r.method = head.substr(0, blank);
  r.path = blank == std::string_view::npos ? std::string_view() : head.substr(blank + 1);
  if (const size_t q = r.path.find('?'); q != std::string_view::npos) {
    r.query = r.path.substr(q + 1);
    r.path = r.path.substr(0, q);
  }
  while (!text.empty()) {
    const std::string_view h = line();
    if (h.empty()) {
      r.body = text;
      break;
    }
    const size_t colon = h.find(": ");
    if (colon != std::string_view::npos) r.headers.emplace_back(h.substr(0, colon), h.substr(colon + 2));
  }
  int answers = 0;
  for (const auto surface :
       {httpapi::Surface::kClient, httpapi::Surface::kMetrics, httpapi::Surface::kPeer}) {
    endpoints.serve(surface, false, r, [&answers](httpapi::Response response) {
      ++answers;
      CHECK(response.status >= 200 && response.status < 600);
    });
  }
  CHECK_EQ(answers, 3);
  return 0;
}
