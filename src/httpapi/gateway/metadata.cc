#include "httpapi/gateway/metadata.h"

#include <algorithm>
#include <charconv>

#include "grpc/protocol.h"
#include "httpapi/gateway/base64.h"

namespace quoin::httpapi::gateway {
namespace {

// Those that IANA lists; they get a prefix.
constexpr std::string_view kPermanent[] = {"Accept",
                                           "Accept-Charset",
                                           "Accept-Language",
                                           "Accept-Ranges",
                                           "Authorization",
                                           "Cache-Control",
                                           "Content-Type",
                                           "Cookie",
                                           "Date",
                                           "Expect",
                                           "From",
                                           "Host",
                                           "If-Match",
                                           "If-Modified-Since",
                                           "If-None-Match",
                                           "If-Schedule-Tag-Match",
                                           "If-Unmodified-Since",
                                           "Max-Forwards",
                                           "Origin",
                                           "Pragma",
                                           "Referer",
                                           "User-Agent",
                                           "Via",
                                           "Warning"};
constexpr std::string_view kPrefix = "Grpc-Metadata-";

char lower(char c) {
  return c >= 'A' && c <= 'Z' ? static_cast<char>(c + 32) : c;
}

bool is_letter_or_digit(char c) {
  return (c >= '0' && c <= '9') || (lower(c) >= 'a' && lower(c) <= 'z');
}

bool is_key(std::string_view key) {
  return std::all_of(key.begin(), key.end(),
                     [](char c) { return is_letter_or_digit(c) || c == '.' || c == '-' || c == '_'; });
}

bool is_text(std::string_view value) {
  return std::all_of(value.begin(), value.end(), [](char c) { return c >= 0x20 && c <= 0x7e; });
}

// In gRPC's units; nothing else of its rules holds here.
std::optional<int64_t> timeout(std::string_view text) {
  if (text.size() < 2) return std::nullopt;
  const auto unit = grpc::timeout_unit_ns(text.back());
  if (!unit) return std::nullopt;
  text.remove_suffix(1);
  if (text.size() > 1 && text[0] == '+' && text[1] != '-') text.remove_prefix(1);
  int64_t n = 0;
  const auto r = std::from_chars(text.data(), text.data() + text.size(), n);
  if (r.ec != std::errc() || r.ptr != text.data() + text.size()) return std::nullopt;
  // Go's multiplication wraps.
  return static_cast<int64_t>(static_cast<uint64_t>(n) * static_cast<uint64_t>(*unit));
}

}  // namespace

std::string canonical_name(std::string_view name) {
  const auto is_token = [](char c) {
    return is_letter_or_digit(c) ||
           (c != '\0' && std::string_view("!#$%&'*+-.^_`|~").find(c) != std::string_view::npos);
  };
  std::string out(name);
  if (!std::all_of(name.begin(), name.end(), is_token)) return out;
  bool upper = true;
  for (char& c : out) {
    c = lower(c);
    if (upper && c >= 'a' && c <= 'z') c = static_cast<char>(c - 32);
    upper = c == '-';
  }
  return out;
}

std::optional<std::string_view> Metadata::find(std::string_view name) const {
  for (const auto& [key, value] : pairs) {
    if (key == name) return value;
  }
  return std::nullopt;
}

Result<Metadata> read_metadata(const Fields& fields) {
  Metadata out;
  for (const auto& [name, value] : fields) {
    if (canonical_name(name) != "Grpc-Timeout" || value.empty()) continue;
    const auto t = timeout(value);
    if (!t) return make_error(Code::kInvalidArgument, "invalid grpc-timeout: {}", value);
    if (*t != 0) out.timeout_ns = *t;
    break;  // the first one counts
  }
  const auto add = [&out](std::string key, std::string_view value) {
    std::transform(key.begin(), key.end(), key.begin(), lower);
    if (grpc::is_reserved_header(key)) return;
    out.pairs.emplace_back(std::move(key), value);
  };
  for (const auto& [name, value] : fields) {
    const std::string key = canonical_name(name);
    if (key == "Authorization") add("authorization", value);
    std::string mapped;
    if (std::find(std::begin(kPermanent), std::end(kPermanent), key) != std::end(kPermanent)) {
      mapped = "grpcgateway-" + key;
    } else if (key.starts_with(kPrefix)) {
      mapped = key.substr(kPrefix.size());
    } else {
      continue;
    }
    if (!is_key(mapped)) continue;
    if (mapped.empty()) out.empty_name = true;
    if (key.ends_with("-Bin")) {
      if (const auto at = grpc::base64_error(value)) {
        return make_error(Code::kInvalidArgument,
                          "invalid binary header {}: illegal base64 data at input byte {}", key, *at);
      }
      Base64Decoder decoder(/*url_alphabet=*/false, value.size() % 4 == 0);
      std::string bytes;
      decoder.feed(value, bytes);
      decoder.end(bytes);
      add(std::move(mapped), bytes);
    } else if (is_text(value)) {
      add(std::move(mapped), value);
    }
  }
  return out;
}

}  // namespace quoin::httpapi::gateway
