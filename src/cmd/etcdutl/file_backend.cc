#include "cmd/etcdutl/file_backend.h"

#include "base/check.h"
#include "base/coding.h"

namespace quoin::utl {

namespace {

using backend::Bucket;

Result<> scan_bucket(const bolt::ReadTx& tx, Bucket bucket, std::string_view from, std::string_view to,
                     const backend::PairVisitor& visit) {
  ASSIGN_OR_RETURN(const auto view, tx.bucket(backend::bucket_name(bucket)));
  if (!view) return {};
  bolt::Cursor cursor = view->cursor();
  ASSIGN_OR_RETURN(bool more, from.empty() ? cursor.first() : cursor.seek(from));
  while (more && (to.empty() || cursor.key() < to)) {
    if (!visit(cursor.key(), cursor.value())) break;
    ASSIGN_OR_RETURN(more, cursor.next());
  }
  return {};
}

class FileView final : public backend::View {
 public:
  explicit FileView(std::shared_ptr<const bolt::ReadTx> tx) : tx_(std::move(tx)) {}

  Result<std::string_view> record(Revision revision, Hint*) const override {
    ASSIGN_OR_RETURN(const auto found,
                     tx_->get(backend::bucket_name(Bucket::kKey), backend::RevisionKey(revision).view()));
    if (!found) return Code::kNotFound;
    return *found;
  }
  Result<> scan_records(Revision from, Revision to, const backend::RecordVisitor& visit) const override {
    Result<> failed;
    const backend::RevisionKey first(from), end(to);
    TRY(scan_bucket(*tx_, Bucket::kKey, first.view(), end.view(),
                    [&](std::string_view key, std::string_view value) {
                      const auto parsed = backend::parse_revision_key(key);
                      if (!parsed) failed = parsed.error().prefixed("bucket key");
                      return parsed && visit(parsed->revision, parsed->tombstone, value);
                    }));
    return failed;
  }

 private:
  const std::shared_ptr<const bolt::ReadTx> tx_;
};

class FileBackend final : public backend::Backend {
 public:
  explicit FileBackend(bolt::Db& db)
      : db_(db), tx_(db.begin_read()), view_(std::make_shared<FileView>(tx_)) {}

  std::optional<std::string> get(Bucket bucket, std::string_view key) const override {
    const auto found = tx_->get(backend::bucket_name(bucket), key);
    if (!found || !*found) return std::nullopt;
    return std::string(**found);
  }
  Result<> scan(Bucket bucket, std::string_view from, std::string_view to,
                const backend::PairVisitor& visit) const override {
    return scan_bucket(*tx_, bucket, from, to, visit);
  }
  std::shared_ptr<const backend::View> view() override { return view_; }
  Index consistent_index() const override { return Index(number("consistent_index")); }
  Term consistent_term() const override { return Term(number("term")); }
  Index durable_index() const override { return consistent_index(); }
  bool full() const override { return false; }
  uint64_t size() const override { return db_.stats().size_bytes(); }
  uint64_t size_in_use() const override { return db_.stats().size_in_use_bytes(); }
  uint64_t open_read_transactions() const override { return 1; }
  std::shared_ptr<backend::Probe> probe() const override { return nullptr; }

  void append(Revision, bool, Blob) override { refuse(); }
  void put(Bucket, std::string_view, std::string_view) override { refuse(); }
  void erase(Bucket, std::string_view) override { refuse(); }
  void set_consistent_index(Index, Term) override { refuse(); }
  void set_conf_state(std::string_view) override { refuse(); }
  void set_consistent_index_forced(Index, Term) override { refuse(); }
  void set_not_full_callback(std::function<void()>) override {}
  void commit(std::function<void()>) override { refuse(); }
  void set_failure_callback(std::function<void(Error)>) override {}
  void compact(int64_t, std::shared_ptr<backend::Compactor>, std::function<void()>) override { refuse(); }
  void hash(std::function<void(Result<backend::StateHash>)>) override { refuse(); }
  void defragment(std::function<void(Result<>)>) override { refuse(); }
  void snapshot(std::function<void(Result<std::shared_ptr<backend::SnapshotSource>>)>) override { refuse(); }
  void close(std::function<void(Result<>)>) override { refuse(); }

 private:
  static void refuse() { CHECK(false, "a database that is open for reading only"); }
  uint64_t number(std::string_view key) const {
    const auto bytes = get(Bucket::kMeta, key);
    return bytes && bytes->size() == 8 ? load_be64(bytes->data()) : 0;
  }

  bolt::Db& db_;
  const std::shared_ptr<const bolt::ReadTx> tx_;
  const std::shared_ptr<FileView> view_;
};

}  // namespace

std::unique_ptr<backend::Backend> make_file_backend(bolt::Db& db) {
  return std::make_unique<FileBackend>(db);
}

}  // namespace quoin::utl
