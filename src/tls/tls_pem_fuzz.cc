// Feeds the readers of files whatever might stand in them: PEM blocks, certificates, keys, revocation lists.
#include <cstdint>
#include <string_view>

#include "base/check.h"
#include "tls/key_pair.h"
#include "tls/pem.h"
#include "tls/verify.h"

extern "C" int LLVMFuzzerTestOneInput(const uint8_t* data, size_t size) {
  namespace tls = quoin::tls;
  const std::string_view input(reinterpret_cast<const char*>(data), size);
  std::string_view rest = input;
  while (auto block = tls::next_pem_block(rest)) {
    CHECK(rest.size() < input.size());
    // What was read can be written, and read again.
    const std::string text = tls::pem_text(block->type, block->bytes);
    std::string_view again = text;
    const auto same = tls::next_pem_block(again);
    CHECK(!same || (same->type == block->type && same->bytes == block->bytes));
    if (auto x = tls::parse_certificate(block->bytes)) (void)tls::names_of(x->get());
  }
  (void)tls::parse_key_pair(input, input);
  (void)tls::parse_certificates(input);
  if (auto list = tls::RevocationList::parse(input)) (void)list->check({"\x01"});
  if (auto x = tls::parse_certificate(input)) {
    const auto names = tls::names_of(x->get());
    (void)tls::verify_hostname(names, "a.b");
    (void)tls::verify_hostname(names, "127.0.0.1");
  }
  return 0;
}
