#include "cmd/etcdutl/migrate.h"

#include <algorithm>
#include <charconv>
#include <optional>
#include <vector>

#include "base/go_text.h"
#include "cmd/etcdutl/files.h"
#include "cmd/etcdutl/snap_files.h"
#include "wal/wal.h"

namespace quoin::utl {

namespace {

using backend::SchemaVersion;

constexpr std::string_view kVersionKey = "storageVersion";

// As etcd shows a version here: "3.7".
std::string short_text(SchemaVersion v) {
  return fmt::format("{}.{}", v.major, v.minor);
}

// strconv.ParseInt.
Result<int64_t> parse_number(std::string_view part) {
  const auto error = [&](std::string_view why) {
    return make_error(Code::kInvalidArgument, "strconv.ParseInt: parsing {}: {}", go_quote(part), why);
  };
  std::string_view digits = part;
  if (digits.starts_with('+')) digits.remove_prefix(1);
  int64_t number = 0;
  const auto [end, code] = std::from_chars(digits.data(), digits.data() + digits.size(), number);
  if (code == std::errc::result_out_of_range) return error("value out of range");
  if (code != std::errc() || end != digits.data() + digits.size()) return error("invalid syntax");
  return number;
}

// coreos/go-semver of "X.Y.0".
Result<SchemaVersion> parse_semver(std::string_view text) {
  text = text.substr(0, text.find('+'));
  text = text.substr(0, text.find('-'));
  const size_t first = text.find('.');
  const size_t second = first == std::string_view::npos ? first : text.find('.', first + 1);
  if (second == std::string_view::npos) {
    return make_error(Code::kInvalidArgument, "{} is not in dotted-tri format", text);
  }
  SchemaVersion v;
  ASSIGN_OR_RETURN(v.major, parse_number(text.substr(0, first)));
  ASSIGN_OR_RETURN(v.minor, parse_number(text.substr(first + 1, second - first - 1)));
  TRY(parse_number(text.substr(second + 1)));
  return v;
}

Result<SchemaVersion> detect(bolt::Db& db) {
  const auto tx = db.begin_read();
  const std::string_view meta = backend::bucket_name(backend::Bucket::kMeta);
  ASSIGN_OR_RETURN(const auto version, tx->get(meta, kVersionKey));
  ASSIGN_OR_RETURN(const auto term, tx->get(meta, "term"));
  return backend::detect_schema_version(version, term);
}

Result<> store(bolt::Db& db, SchemaVersion target) {
  ASSIGN_OR_RETURN(auto tx, db.begin_write());
  ASSIGN_OR_RETURN(bolt::Bucket* const meta, tx->create_bucket(backend::bucket_name(backend::Bucket::kMeta)));
  if (target < backend::kSchema36) {
    TRY(meta->erase(kVersionKey));
  } else {
    TRY(meta->put(kVersionKey, target.text()));
  }
  return db.commit_blocking(std::move(tx));
}

// The log can be read from its newest snapshot on. None of its entries need a version above 3.5 to be understood: only
// etcd's own tests write one that does (InternalRaftRequest.downgrade_version_test).
Result<> check_log(const std::string& data_dir, const Machine& machine) {
  const auto read_snapshot = [&]() -> Result<wal::SnapshotRecord> {
    ASSIGN_OR_RETURN(const auto records, wal::valid_snapshots(machine.fs, wal_path(data_dir), machine.log));
    ASSIGN_OR_RETURN(const auto snapshot, newest_usable_snapshot(machine.fs, snap_path(data_dir), records));
    if (!snapshot) return wal::SnapshotRecord{};
    return wal::SnapshotRecord{snapshot->metadata.index, snapshot->metadata.term, std::nullopt};
  };
  const auto start = read_snapshot();
  if (!start) return start.error().prefixed("failed to get the lastest snapshot");
  const auto contents = wal::read(machine.fs, wal_path(data_dir), *start, machine.log);
  if (!contents) {
    const bool opened = contents.error().code() != Code::kFileNotFound;
    return contents.error().prefixed(opened ? "failed to read wal" : "failed to open wal");
  }
  return {};
}

Result<> step_to(SchemaVersion from, SchemaVersion target, const Machine& machine) {
  if (from.major != target.major) {
    LOG(machine.log, kError, "Changing major storage version is not supported",
        {"storage-version", from.text()}, {"target-storage-version", target.text()});
  }
  return backend::check_migration(from, target);
}

}  // namespace

Result<SchemaVersion> parse_target_version(std::string_view text) {
  if (std::count(text.begin(), text.end(), '.') != 1) {
    return make_error(Code::kInvalidArgument, "wrong target version format, expected \"X.Y\", got {}",
                      go_quote(text));
  }
  const auto version = parse_semver(std::string(text) + ".0");
  if (!version) return version.error().prefixed("failed to parse target version");
  if (*version < backend::kSchema35) {
    return make_error(Code::kInvalidArgument, "target version \"{}\" not supported. Minimal \"3.5\"",
                      short_text(*version));
  }
  return *version;
}

Result<> migrate(const MigrateOptions& options, const Machine& machine, std::unique_ptr<bolt::Db> db) {
  log::Logger& log = machine.log;
  const auto current = detect(*db);
  if (!current) {
    LOG(log, kError,
        "failed to detect storage version. Please make sure you are using data dir from etcd v3.5 and "
        "older", );
    return current.error();
  }
  if (*current == options.target) {
    LOG(log, kInfo, "storage version up-to-date", {"storage-version", short_text(*current)});
    return {};
  }
  if (Result<> readable = check_log(options.data_dir, machine); !readable) {
    LOG(log, kError, "Failed to finalize config", {"error", readable.error().text()});
    return readable;
  }
  Result<> known = step_to(*current, options.target, machine);
  if (!known && !options.force) return known;
  if (!known) LOG(log, kInfo, "normal migrate failed, trying with force", {"error", known.error().text()});
  TRY(store(*db, options.target));
  if (known) {
    LOG(log, kInfo, "updated storage version", {"new-storage-version", options.target.text()});
  } else if (options.target < backend::kSchema36) {
    LOG(log, kWarn, "forcefully cleared storage version", );
  } else {
    LOG(log, kWarn, "forcefully set storage version", {"storage-version", short_text(options.target)});
  }
  return db->close_blocking(false);
}

}  // namespace quoin::utl
