#include "mvcc/read_view.h"

#include "mvcc/index_view.h"

namespace quoin::mvcc {

Result<int64_t> ReadView::resolve(int64_t asked) const {
  if (asked > parts_.revision) return Code::kFutureRev;
  if (asked <= 0) return parts_.revision;
  if (asked < parts_.compact_revision) return Code::kCompacted;
  return asked;
}

std::optional<KeyMeta> ReadView::find(std::string_view key, int64_t revision) const {
  const RevisionNode* node = parts_.index->ref().find_live(key, revision);
  if (!node) return std::nullopt;
  return node->meta();
}

Result<std::optional<std::string_view>> ReadView::get(std::string_view key, int64_t revision) const {
  const std::optional<KeyMeta> meta = find(key, revision);
  if (!meta) return std::optional<std::string_view>();
  ASSIGN_OR_RETURN(const std::string_view bytes, record(*meta));
  return std::optional<std::string_view>(bytes);
}

int64_t ReadView::count(std::string_view key, std::string_view range_end, int64_t revision) const {
  return parts_.index->ref().count({key, range_end}, revision, parts_.revision);
}

}  // namespace quoin::mvcc
