// PEM blocks, found as Go's encoding/pem finds them: what stands between the blocks is skipped, and so is a
// block that is damaged.
//
// Pure; any thread.
// Source: Go's encoding/pem (Decode), RFC 7468.
#pragma once
#include <optional>
#include <string>
#include <string_view>

namespace quoin::tls {

struct PemBlock {
  std::string type;   // "CERTIFICATE"
  std::string bytes;  // what the base64 text stands for
};

// The first block of `rest`, which is cut to what follows the block. Nothing if there is none.
std::optional<PemBlock> next_pem_block(std::string_view& rest);

// A block as Go writes it: lines of 64 characters.
std::string pem_text(std::string_view type, std::string_view bytes);

}  // namespace quoin::tls
