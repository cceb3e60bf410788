#include "cmd/etcdutl/printer.h"

#include <fmt/ranges.h>

#include "base/check.h"
#include "cmd/text/go_json.h"
#include "cmd/text/size.h"
#include "cmd/text/table.h"

namespace quoin::utl {

namespace {

std::string print_row(const std::vector<std::string>& header, const std::vector<std::string>& row,
                      Format format) {
  if (format == Format::kSimple) return fmt::format("{}\n", fmt::join(row, ", "));
  CHECK(format == Format::kTable);
  cmd::Table table(header);
  table.add(row);
  return table.text();
}

}  // namespace

std::optional<Format> parse_format(std::string_view name) {
  static constexpr std::pair<std::string_view, Format> kFormats[] = {{"simple", Format::kSimple},
                                                                     {"table", Format::kTable},
                                                                     {"json", Format::kJson},
                                                                     {"fields", Format::kFields},
                                                                     {"protobuf", Format::kProtobuf}};
  for (const auto& [known, format] : kFormats)
    if (name == known) return format;
  return std::nullopt;
}

std::string print_status(const DbStatus& s, Format format) {
  if (format == Format::kJson) {
    cmd::GoJson json;
    json.open_object().put("hash", s.hash).put("revision", s.revision).put("totalKey", s.total_keys);
    json.put("totalSize", s.total_size).put("version", s.version).close_object();
    return json.take() + "\n";
  }
  if (format == Format::kFields) {
    return fmt::format("\"Hash\" : {}\n\"Revision\" : {}\n\"Keys\" : {}\n\"Size\" : {}\n\"Version\" : {}\n",
                       s.hash, s.revision, s.total_keys, s.total_size, s.version);
  }
  return print_row({"hash", "revision", "total keys", "total size", "version"},
                   {fmt::format("{:x}", s.hash), std::to_string(s.revision), std::to_string(s.total_keys),
                    cmd::si_size(s.total_size), s.version},
                   format);
}

std::string print_hash(const mvcc::HashKvResult& h, Format format) {
  if (format == Format::kJson) {
    cmd::GoJson json;
    json.open_object().put("hash", h.hash).put("hashRevision", h.hash_revision);
    json.put("compactRevision", h.compact_revision).close_object();
    return json.take() + "\n";
  }
  if (format == Format::kFields) {
    return fmt::format("\"Hash\" : {}\n\"Hash revision\" : {}\n\"Compact revision\" : {}\n", h.hash,
                       h.hash_revision, h.compact_revision);
  }
  return print_row(
      {"hash", "hash revision", "compact revision"},
      {std::to_string(h.hash), std::to_string(h.hash_revision), std::to_string(h.compact_revision)}, format);
}

}  // namespace quoin::utl
