#include "server/received_database.h"

#include "bolt/format.h"

namespace quoin::server {

Result<> check_received_database(io::FileSystem& fs, const std::string& path) {
  ASSIGN_OR_RETURN(const auto file, fs.open(path, {}));
  ASSIGN_OR_RETURN(const uint64_t size, file->size());
  char head[bolt::kPageHeaderBytes + bolt::kMetaBytes];
  ASSIGN_OR_RETURN(const size_t got, file->read_at(0, head));
  if (got < sizeof head) return make_error(Code::kCorruption, "no database: {} bytes", size);
  std::string_view why;
  const auto meta = bolt::Meta::read(head, &why);
  if (!meta) return make_error(Code::kCorruption, "no database: {}", why);
  if (meta->hwm.v > size / meta->page_size) {
    return make_error(Code::kCorruption, "a database of {} pages of {} bytes, cut at {} bytes", meta->hwm,
                      meta->page_size, size);
  }
  return {};
}

}  // namespace quoin::server
