// Feeds a server's session whatever a client might send. The first byte says what the server demands and how
// the rest is cut. No input may do more than fail the session, and how the bytes are cut must not show in how
// it ends.
#include <array>
#include <cstdint>
#include <string>

#include "base/check.h"
#include "tls/session.h"
#include "tls/tls_test_util.h"

namespace {
namespace tls = quoin::tls;

// A server that demands certificates, and one that does not.
struct Servers {
  Servers() {
    const auto ca = tls::testing::make_ca();
    const auto pair = issue({.ips = {"127.0.0.1"}}, &ca);
    for (const bool demanding : {false, true}) {
      const auto o = files.side("s", pair, demanding ? &ca : nullptr);
      credentials[demanding] = *tls::Credentials::load(o, tls::Role::kServer, *files.fs, clock,
                                                       std::make_shared<tls::TicketKeys>(clock));
    }
  }
  tls::testing::Files files;
  tls::testing::FakeClock clock;
  std::array<std::shared_ptr<const tls::Credentials>, 2> credentials;
};

std::string run(const std::shared_ptr<const tls::Credentials>& credentials, std::string_view input,
                size_t piece) {
  tls::Session session(credentials, {});
  std::string ends;
  for (size_t at = 0; at < input.size(); at += piece) {
    session.feed(input.substr(at, piece));
    while (session.wants_step()) session.step();
    if (session.state() == tls::Session::State::kOpen) ends += tls::testing::read_all(session);
    (void)session.take_output();
  }
  session.feed_eof();
  while (session.wants_step()) session.step();
  CHECK(session.state() != tls::Session::State::kHandshake);
  return ends + "|" + tls::testing::error_of(session);
}
}  // namespace

extern "C" int LLVMFuzzerTestOneInput(const uint8_t* data, size_t size) {
  static const auto* const servers = new Servers;
  if (size < 2) return 0;
  const std::string_view input(reinterpret_cast<const char*>(data + 1), size - 1);
  const auto& credentials = servers->credentials[data[0] & 1];
  const std::string whole = run(credentials, input, input.size());
  const std::string cut = run(credentials, input, 1 + (data[0] >> 1));
  CHECK(whole == cut, "{} against {}", whole, cut);
  return 0;
}
