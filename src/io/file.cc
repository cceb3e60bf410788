#include "io/file.h"

namespace quoin::io {

Result<std::string> read_file(FileSystem& fs, const std::string& path, uint64_t limit) {
  ASSIGN_OR_RETURN(auto file, fs.open(path, {}));
  ASSIGN_OR_RETURN(const uint64_t size, file->size());
  if (size > limit) return make_error(Code::kLimit, "{}: {} bytes, at most {} expected", path, size, limit);
  std::string bytes(size, '\0');
  ASSIGN_OR_RETURN(const size_t n, file->read_at(0, bytes));
  bytes.resize(n);
  return bytes;
}

}  // namespace quoin::io
