#include "cmd/etcdutl/check_database.h"

#include <absl/container/flat_hash_map.h>
#include <absl/container/flat_hash_set.h>

#include "backend/backend.h"
#include "backend/schema.h"
#include "base/coding.h"
#include "bolt/db.h"
#include "cmd/etcdutl/remedies.h"
#include "cmd/text/size.h"
#include "membership/cluster.h"
#include "mvcc/key_value.h"
#include "wire/auth.h"
#include "wire/lease.h"
#include "wire/message.h"

namespace quoin::utl {

namespace {

using backend::Bucket;

constexpr size_t kFindingsShown = 20;  // of one kind
constexpr uint64_t kItemsPerStep = 1 << 12;

// Many damages of one kind are one finding each, up to a number, and then one that counts the rest.
class Several {
 public:
  Several(Report* report, std::string where) : report_(report), where_(std::move(where)) {}
  ~Several() {
    if (count_ > kFindingsShown) {
      report_->fault(where_, fmt::format("{} more of these", count_ - kFindingsShown), kDatabaseRemedy);
    }
  }
  Several(const Several&) = delete;
  Several& operator=(const Several&) = delete;
  void add(std::string what) {
    if (++count_ <= kFindingsShown) report_->fault(where_, std::move(what), kDatabaseRemedy);
  }
  bool any() const { return count_ > 0; }

 private:
  Report* const report_;
  const std::string where_;
  size_t count_ = 0;
};

class DatabaseCheck {
 public:
  DatabaseCheck(bolt::Db& db, const Job& job, Report* report)
      : db_(db), job_(job), report_(report), where_(db.path()), tx_(db.begin_read()) {}

  Result<DatabaseFacts> run() {
    TRY(job_.step("checking the pages of the database", 0, 0));
    {
      Several pages(report_, where_);
      for (std::string& finding : db_.check()) pages.add(std::move(finding));
      // What hangs below a damaged page cannot be read; the records would only repeat that.
      if (pages.any()) return facts_;
    }
    TRY(check_records());
    TRY(check_leases());
    check_meta();
    check_members();
    check_values<wire::authpb::User>(Bucket::kAuthUsers);
    check_values<wire::authpb::Role>(Bucket::kAuthRoles);
    facts_.readable = readable_;
    say_facts();
    return facts_;
  }

 private:
  // Visits a bucket's items. A bucket that is missing is made by the next start.
  Result<> scan(Bucket bucket, const backend::PairVisitor& visit) {
    const std::string_view name = backend::bucket_name(bucket);
    ASSIGN_OR_RETURN(const auto view, tx_->bucket(name));
    if (!view) {
      report_->note(where_, fmt::format("bucket {} is missing; the next start makes it", name));
      return {};
    }
    bolt::Cursor cursor = view->cursor();
    ASSIGN_OR_RETURN(bool more, cursor.first());
    while (more) {
      if (cursor.is_bucket()) {
        fault(fmt::format("bucket {}: a bucket stands where a value is expected", name));
      } else if (!visit(cursor.key(), cursor.value())) {
        return {};
      }
      ASSIGN_OR_RETURN(more, cursor.next());
    }
    return {};
  }
  void fault(std::string what) {
    readable_ = false;
    report_->fault(where_, std::move(what), kDatabaseRemedy);
  }

  Result<> check_records() {
    Several records(report_, where_);
    const uint64_t total = tx_->size_bytes();
    uint64_t bytes = 0;
    Result<> stopped;
    const auto read = scan(Bucket::kKey, [&](std::string_view key, std::string_view value) {
      if (records_++ % kItemsPerStep == 0) stopped = job_.step("checking the records", bytes, total);
      bytes += key.size() + value.size();
      if (auto wrong = check_record(key, value); !wrong.empty()) records.add("bucket key, " + wrong);
      return stopped.has_value();
    });
    TRY(stopped);
    if (!read) fault(std::string(read.error().text()));
    readable_ = readable_ && !records.any();
    return {};
  }

  // What is wrong with a record; empty if nothing is.
  std::string check_record(std::string_view key, std::string_view value) {
    const auto parsed = backend::parse_revision_key(key);
    if (!parsed) return fmt::format("a key that is no revision: {}", parsed.error().text());
    const Revision at = parsed->revision;
    facts_.revision = std::max(facts_.revision, at.main);
    const auto wrong = [&](std::string_view what) {
      return fmt::format("revision {}_{}: {}", at.main, at.sub, what);
    };
    const auto kv = mvcc::decode_key_value(value);
    if (!kv) return wrong(kv.error().text());
    if (parsed->tombstone) {
      live_.erase(kv->key);
      return "";
    }
    live_[kv->key] = kv->lease;
    if (value.empty()) return "";  // raises the revision (restore.h)
    if (kv->key.empty()) return wrong("a record without a key");
    if (kv->mod_revision != at.main)
      return wrong(fmt::format("says that it is of revision {}", kv->mod_revision));
    if (kv->version < 1) return wrong(fmt::format("version {}", kv->version));
    if (kv->create_revision < 1 || kv->create_revision > at.main) {
      return wrong(fmt::format("created at revision {}", kv->create_revision));
    }
    return "";
  }

  Result<> check_leases() {
    absl::flat_hash_set<int64_t> leases;
    const auto read = scan(Bucket::kLease, [&](std::string_view key, std::string_view value) {
      const auto lease = wire::decode<wire::leasepb::Lease>(value);
      if (!lease) {
        fault(fmt::format("bucket lease: {}", lease.error().text()));
      } else if (key.size() != 8 || load_be64(key.data()) != static_cast<uint64_t>(lease->id)) {
        fault(fmt::format("bucket lease: lease {:x} stands under another id", lease->id));
      } else {
        leases.insert(lease->id);
      }
      return true;
    });
    if (!read) fault(std::string(read.error().text()));
    uint64_t without = 0;
    for (const auto& [key, lease] : live_) without += lease && !leases.contains(lease.v) ? 1 : 0;
    if (without > 0) {
      report_->note(
          where_, fmt::format("{} keys hang on leases that do not exist, so nothing removes them", without));
    }
    return {};
  }

  std::optional<std::string_view> meta(std::string_view key) {
    const auto found = tx_->get(backend::bucket_name(Bucket::kMeta), key);
    if (!found) fault(std::string(found.error().text()));
    return found ? *found : std::nullopt;
  }
  uint64_t meta_number(std::string_view key) {
    const auto bytes = meta(key);
    if (!bytes) return 0;
    if (bytes->size() == 8) return load_be64(bytes->data());
    fault(fmt::format("bucket meta: {} has {} bytes instead of 8", key, bytes->size()));
    return 0;
  }
  int64_t meta_revision(std::string_view key) {
    const auto bytes = meta(key);
    if (!bytes) return -1;
    const auto parsed = backend::parse_revision_key(*bytes);
    if (parsed) return parsed->revision.main;
    fault(fmt::format("bucket meta: {}: {}", key, parsed.error().text()));
    return -1;
  }

  void check_meta() {
    facts_.consistent_index = Index(meta_number("consistent_index"));
    facts_.term = Term(meta_number("term"));
    compacted_ = std::max(meta_revision("finishedCompactRev"), meta_revision("scheduledCompactRev"));
    facts_.revision = std::max({facts_.revision, compacted_, int64_t{1}});
    if (const auto state = meta("confState")) {
      if (const auto parsed = membership::parse_conf_state(*state); !parsed) {
        fault(fmt::format("bucket meta: confState: {}", parsed.error().text()));
      }
    }
    if (const auto version = meta("storageVersion")) {
      if (!backend::parse_schema_version(*version)) {
        fault(fmt::format("bucket meta: storageVersion is \"{}\"", *version));
      } else if (backend::parse_schema_version(*version) > backend::kSchema36) {
        report_->note(where_,
                      fmt::format("written for etcd {}; this version starts on 3.5 and 3.6", *version),
                      "`etcdutl migrate --target-version 3.6` of that version turns it back.");
      }
    }
  }

  void check_members() {
    auto members = membership::read_membership(
        [&](Bucket bucket, const backend::PairVisitor& visit) -> Result<> { return scan(bucket, visit); });
    if (!members) return fault(std::string(members.error().text()));
    for (const MemberId id : members->removed) {
      if (members->members.contains(id)) {
        fault(fmt::format("member {} is listed as a member and as removed", hex(id.v)));
      }
    }
    facts_.members = std::move(*members);
  }

  template <class Message>
  void check_values(Bucket bucket) {
    const auto read = scan(bucket, [&](std::string_view, std::string_view value) {
      const auto decoded = wire::decode<Message>(value);
      if (!decoded) fault(fmt::format("bucket {}: {}", backend::bucket_name(bucket), decoded.error().text()));
      return true;
    });
    if (!read) fault(std::string(read.error().text()));
  }

  void say_facts() {
    report_->fact(
        where_,
        fmt::format("{}, revision {}{}, {} records, {} keys, applied up to index {} of term {}, {} members",
                    cmd::si_size(tx_->size_bytes()), facts_.revision,
                    compacted_ >= 0 ? fmt::format(" (compacted up to {})", compacted_) : "", records_,
                    live_.size(), facts_.consistent_index, facts_.term,
                    facts_.members ? facts_.members->members.size() : 0));
  }

  bolt::Db& db_;
  const Job& job_;
  Report* const report_;
  const std::string where_;
  const std::shared_ptr<const bolt::ReadTx> tx_;
  DatabaseFacts facts_;
  bool readable_ = true;
  uint64_t records_ = 0;
  int64_t compacted_ = -1;
  absl::flat_hash_map<std::string_view, LeaseId> live_;  // views into the file
};

}  // namespace

Result<DatabaseFacts> check_database(const std::string& path, io::FileSystem& fs, const Job& job,
                                     Report* report) {
  bolt::Options options;
  options.read_only = true;
  const auto db = bolt::Db::open(fs, path, options);
  if (db) return DatabaseCheck(**db, job, report).run();
  const Error& error = db.error();
  if (error.code() == Code::kLocked) {
    report->fault(path, "a member runs on this directory: its database is locked",
                  "Stop the member first, or check a copy of the directory.");
  } else if (error.code() == Code::kFileNotFound) {
    report->fault(path, "the database is missing", kDatabaseRemedy);
  } else {
    std::string_view text = error.text();
    if (text.starts_with(path + ": ")) text.remove_prefix(path.size() + 2);
    report->fault(path, std::string(text), kDatabaseRemedy);
  }
  return DatabaseFacts{};
}

}  // namespace quoin::utl
