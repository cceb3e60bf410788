#include "scenarios/truth.h"

#include <fmt/format.h>

#include "base/check.h"
#include "mvcc/key_value.h"
#include "mvcc/range.h"

namespace quoin::scenarios {

namespace {

std::string show(const TruthRecord& r) {
  return fmt::format("{}{} ({} bytes: {:.30})", r.tombstone ? "-" : "", r.key, r.bytes.size(),
                     r.tombstone ? "" : mvcc::decode_key_value(r.bytes)->value);
}

bool same(const TruthRecord& a, const TruthRecord& b) {
  return a.tombstone == b.tombstone && a.key == b.key && (a.tombstone || a.bytes == b.bytes);
}

// A key's record against the one before it. Empty if it is what a store writes.
std::string odd(const mvcc::KeyValueRef& kv, int64_t revision, const State& before) {
  const auto old = before.find(kv.key);
  const int64_t create = old == before.end() ? revision : old->second.create;
  const int64_t version = old == before.end() ? 1 : old->second.version + 1;
  if (kv.mod_revision == revision && kv.create_revision == create && kv.version == version) return {};
  return fmt::format("{} at revision {}: mod {} create {} (want {}) version {} (want {})", kv.key, revision,
                     kv.mod_revision, kv.create_revision, create, kv.version, version);
}

void put(const mvcc::KeyValueRef& kv, State* state) {
  (*state)[std::string(kv.key)] = {std::string(kv.value), kv.create_revision, kv.mod_revision, kv.version,
                                   kv.lease.v};
}

}  // namespace

Result<State> read_range(const std::shared_ptr<const mvcc::ReadView>& view, int64_t revision,
                         std::string_view key, std::string_view end) {
  mvcc::RangeRequest request;
  request.key = key;
  request.range_end = end;
  request.revision = revision;
  ASSIGN_OR_RETURN(mvcc::RangeScan scan, mvcc::RangeScan::start(view, request));
  State state;
  Result<> decoded;
  TRY(scan.run([&](std::string_view encoded) {
    const auto kv = mvcc::decode_key_value(encoded);
    if (!kv) {
      decoded = kv.error();
      return false;
    }
    put(*kv, &state);
    return true;
  }));
  TRY(std::move(decoded));
  return state;
}

Effect Truth::effect(int64_t revision) const {
  Effect out;
  for (const TruthRecord& r : at(revision).records) {
    if (r.tombstone) {
      out[r.key] = std::nullopt;
    } else {
      const auto kv = mvcc::decode_key_value(r.bytes);
      out[r.key] = Write{std::string(kv->value), kv->lease.v};
    }
  }
  return out;
}

std::string Truth::learn(const mvcc::ReadView& view, int64_t* known, io::MonotonicNs now) {
  if (view.revision() <= *known) return {};
  const int64_t from = std::max(*known, view.compact_revision()) + 1;
  std::vector<Step> got(static_cast<size_t>(std::max<int64_t>(view.revision() - from + 1, 0)));
  std::string problem;
  const Result<> scanned = view.parts().records->scan_records(
      {from, 0}, {view.revision() + 1, 0}, [&](Revision at, bool tombstone, std::string_view bytes) {
        const auto kv = mvcc::decode_key_value(bytes);
        if (!kv) {
          problem = fmt::format("a record of revision {} can't be decoded", at.main);
          return false;
        }
        auto& records = got[static_cast<size_t>(at.main - from)].records;
        if (at.sub != static_cast<int64_t>(records.size())) {
          problem = fmt::format("revision {} has no record {} but {}", at.main, records.size(), at.sub);
          return false;
        }
        records.push_back({tombstone, std::string(bytes), std::string(kv->key)});
        return true;
      });
  if (!scanned)
    return fmt::format("{}records from revision {} on: {}", kUnreadable, from, scanned.error().text());
  if (!problem.empty()) return problem;
  if (from > revision() + 1) {
    return fmt::format("compacted at {}, though nobody has seen what came after {}", view.compact_revision(),
                       revision());
  }
  for (int64_t r = std::max<int64_t>(from, 2); r <= view.revision(); ++r) {
    Step& step = got[static_cast<size_t>(r - from)];
    if (step.records.empty()) return fmt::format("revision {} has no records", r);
    if (r <= revision()) {
      const Step& known_step = at(r);
      for (size_t i = 0; i < std::max(step.records.size(), known_step.records.size()); ++i) {
        if (i < step.records.size() && i < known_step.records.size() &&
            same(step.records[i], known_step.records[i])) {
          continue;
        }
        return fmt::format(
            "revision {} record {} is {}, and {} elsewhere", r, i,
            i < step.records.size() ? show(step.records[i]) : "missing",
            i < known_step.records.size() ? show(known_step.records[i]) : std::string("missing"));
      }
      continue;
    }
    for (const TruthRecord& record : step.records) {
      if (record.tombstone) {
        if (newest_.erase(record.key) == 0)
          return fmt::format("revision {} deletes {}, which is not there", r, record.key);
        continue;
      }
      const auto kv = mvcc::decode_key_value(record.bytes);
      if (std::string what = odd(*kv, r, newest_); !what.empty()) return what;
      put(*kv, &newest_);
    }
    step.learned = now;
    steps_.push_back(std::move(step));
  }
  *known = view.revision();
  return {};
}

std::string Truth::verify(const std::shared_ptr<const mvcc::ReadView>& view) const {
  CHECK_LE(view->revision(), revision());
  const int64_t compacted = view->compact_revision();
  std::string problem;
  const Result<> scanned = view->parts().records->scan_records(
      {2, 0}, {compacted + 1, 0}, [&](Revision at, bool tombstone, std::string_view bytes) {
        const auto& records = this->at(at.main).records;
        const auto sub = static_cast<size_t>(at.sub);
        const auto key = mvcc::decode_key(bytes);
        if (key && sub < records.size() &&
            same(records[sub], {tombstone, std::string(bytes), std::string(*key)}))
          return true;
        problem = fmt::format("record {} of revision {}, below the compaction at {}, is another elsewhere",
                              at.sub, at.main, compacted);
        return false;
      });
  if (!scanned)
    return fmt::format("{}records up to revision {}: {}", kUnreadable, compacted, scanned.error().text());
  if (!problem.empty()) return problem;
  State want;
  for (int64_t r = 2; r <= view->revision(); ++r) {
    for (const TruthRecord& record : at(r).records) {
      if (record.tombstone) {
        want.erase(record.key);
      } else {
        put(*mvcc::decode_key_value(record.bytes), &want);
      }
    }
  }
  using namespace std::literals;
  const auto got = read_range(view, view->revision(), "\0"sv, "\0"sv);
  if (!got) return fmt::format("{}revision {}: {}", kUnreadable, view->revision(), got.error().text());
  if (*got == want) return {};
  for (const auto& [key, k] : want) {
    const auto found = got->find(key);
    if (found == got->end()) return fmt::format("{} is missing at revision {}", key, view->revision());
    if (found->second != k) return fmt::format("{} is another at revision {}", key, view->revision());
  }
  return fmt::format("there is too much at revision {}", view->revision());
}

}  // namespace quoin::scenarios
