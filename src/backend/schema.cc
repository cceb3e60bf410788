#include "backend/schema.h"

#include <charconv>

#include "base/coding.h"

namespace quoin::backend {
namespace {
constexpr std::string_view kVersionKey = "storageVersion";

// Takes a decimal number without leading zeros off the front of `text`.
std::optional<int64_t> take_number(std::string_view& text) {
  int64_t v = 0;
  const auto [end, error] = std::from_chars(text.data(), text.data() + text.size(), v);
  const auto digits = static_cast<size_t>(end - text.data());
  if (error != std::errc() || digits == 0 || text[0] == '-' || (digits > 1 && text[0] == '0')) {
    return std::nullopt;
  }
  text.remove_prefix(digits);
  return v;
}
}  // namespace

std::string SchemaVersion::text() const {
  return fmt::format("{}.{}.0", major, minor);
}

std::optional<SchemaVersion> parse_schema_version(std::string_view text) {
  SchemaVersion v;
  int64_t patch = 0;
  for (int64_t* part : {&v.major, &v.minor, &patch}) {
    const auto number = take_number(text);
    if (!number) return std::nullopt;
    *part = *number;
    if (part == &patch) break;
    if (!text.starts_with('.')) return std::nullopt;
    text.remove_prefix(1);
  }
  if (text.empty()) return v;
  if ((text[0] != '-' && text[0] != '+') || text.size() == 1) return std::nullopt;
  for (const char c : text.substr(1)) {
    const bool ok = (c >= '0' && c <= '9') || (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') || c == '-' ||
                    c == '.' || c == '+';
    if (!ok) return std::nullopt;
  }
  return v;
}

Result<SchemaVersion> detect_schema_version(std::optional<std::string_view> storage_version,
                                            std::optional<std::string_view> term) {
  if (storage_version) {
    if (const auto v = parse_schema_version(*storage_version)) return *v;
  }
  if (term && term->size() == 8 && load_be64(term->data()) != 0) return kSchema35;
  return make_error(Code::kCorruption, "missing term information");
}

Result<SchemaVersion> detect_schema_version(const Backend& backend) {
  const auto version = backend.get(Bucket::kMeta, kVersionKey);
  const auto term = backend.get(Bucket::kMeta, "term");
  return detect_schema_version(version ? std::optional<std::string_view>(*version) : std::nullopt,
                               term ? std::optional<std::string_view>(*term) : std::nullopt);
}

Result<> check_migration(SchemaVersion from, SchemaVersion to) {
  if (from == to) return {};
  if (from.major != to.major) {
    return make_error(Code::kUnsupported,
                      "cannot create migration plan: changing major storage version is not supported");
  }
  for (const SchemaVersion v : {from, to}) {
    if (v != kSchema35 && v != kSchema36) {
      return make_error(Code::kUnsupported, "cannot create migration plan: version \"{}\" is not supported",
                        v.text());
    }
  }
  return {};
}

Result<std::optional<SchemaVersion>> validate_schema(const Backend& backend, SchemaVersion own) {
  const auto found = detect_schema_version(backend);
  if (!found) return std::optional<SchemaVersion>();
  TRY(check_migration(*found, own));
  return std::optional<SchemaVersion>(*found);
}

void force_schema(Backend& backend, SchemaVersion to) {
  if (to < kSchema36) {
    backend.erase(Bucket::kMeta, kVersionKey);
  } else {
    backend.put(Bucket::kMeta, kVersionKey, to.text());
  }
}

Result<> migrate_schema(Backend& backend, SchemaVersion to) {
  auto from = detect_schema_version(backend);
  if (!from) return from.error().prefixed("cannot detect storage schema version");
  TRY(check_migration(*from, to));
  if (*from != to) force_schema(backend, to);
  return {};
}

}  // namespace quoin::backend
