#include "cmd/etcdutl/hash_file.h"

#include "base/metrics.h"
#include "cmd/etcdutl/file_backend.h"
#include "mvcc/store.h"

namespace quoin::utl {

namespace {

// The hash does not depend on leases.
class NoLeases final : public mvcc::LeaseAttachments {
 public:
  void attach(LeaseId, std::string_view) override {}
  void detach(LeaseId, std::string_view) override {}
  LeaseId lease_of(std::string_view) const override { return LeaseId{}; }
};

constexpr size_t kRecordsPerStep = 1 << 12;

}  // namespace

Result<mvcc::HashKvResult> hash_file(bolt::Db& db, int64_t revision, const Job& job) {
  TRY(job.step("reading the keys", 0, 0));
  const auto backend = make_file_backend(db);
  NoLeases leases;
  metrics::Registry metrics;
  mvcc::StoreOptions options;
  options.beside = true;  // no compaction is begun
  ASSIGN_OR_RETURN(const auto store, mvcc::Store::restore(*backend, leases, metrics, options));
  ASSIGN_OR_RETURN(auto run, mvcc::HashKvRun::start(store->publish(), revision));
  for (bool done = false; !done;) {
    TRY(job.step("hashing", 0, 0));
    ASSIGN_OR_RETURN(done, run.step(kRecordsPerStep));
  }
  return run.result();
}

}  // namespace quoin::utl
