#include "scenarios/reads.h"

#include <fmt/format.h>

#include <algorithm>

#include "mvcc/key_range.h"
#include "mvcc/key_value.h"

namespace quoin::scenarios {

bool ReadGot::add(std::string_view encoded) {
  const auto kv = mvcc::decode_key_value(encoded);
  if (!kv) return false;
  kvs.emplace_back(std::string(kv->key), KeyState{std::string(kv->value), kv->create_revision,
                                                  kv->mod_revision, kv->version, kv->lease.v});
  return true;
}

std::string Reads::add(ReadAsked asked, ReadGot got) {
  if (got.header_revision < asked.at_least) {
    return fmt::format("a linearizable read stands at {}, {} was acknowledged before it began",
                       got.header_revision, asked.at_least);
  }
  if (asked.revision > got.header_revision) {
    return fmt::format("a read of revision {} is answered at revision {}", asked.revision,
                       got.header_revision);
  }
  waiting_.push_back({std::move(asked), std::move(got)});
  return {};
}

std::string Reads::settle(const History& history) {
  std::stable_sort(waiting_.begin(), waiting_.end(),
                   [](const Answer& a, const Answer& b) { return a.revision() < b.revision(); });
  State state;
  int64_t at = 1;
  size_t done = 0;
  for (; done < waiting_.size() && waiting_[done].revision() <= history.revision(); ++done) {
    for (; at < waiting_[done].revision(); ++at) apply_effect(history.effect_at(at + 1), at + 1, &state);
    if (std::string problem = compare(waiting_[done], state); !problem.empty()) return problem;
  }
  waiting_.erase(waiting_.begin(), waiting_.begin() + static_cast<std::ptrdiff_t>(done));
  return {};
}

std::string Reads::compare(const Answer& answer, const State& state) {
  const ReadAsked& a = answer.asked;
  const ReadGot& got = answer.got;
  auto wrong = [&](const std::string& what) {
    return fmt::format("a read of {} keys from \"{}\" at revision {} (header {}): {}", a.limit, a.key.c_str(),
                       answer.revision(), got.header_revision, what);
  };
  size_t count = 0, n = 0;
  for (const auto& [key, k] : state) {
    if (!mvcc::KeyRange{a.key, a.end}.contains(key)) continue;
    ++count;
    if (a.count_only || (a.limit > 0 && count > static_cast<size_t>(a.limit))) continue;
    if (n == got.kvs.size()) return wrong(key + " is missing");
    if (got.kvs[n].first != key) return wrong(fmt::format("{} instead of {}", got.kvs[n].first, key));
    KeyState want = k;
    if (a.keys_only) want.value.clear();
    if (got.kvs[n].second != want) {
      return wrong(fmt::format("{} is of revision {}, was of {}", key, got.kvs[n].second.mod, want.mod));
    }
    ++n;
  }
  if (n != got.kvs.size()) return wrong(got.kvs[n].first + " is too much");
  if (got.count != static_cast<int64_t>(count)) return wrong(fmt::format("count {} of {}", got.count, count));
  if (got.more != (!a.count_only && n < count)) return wrong("`more` is wrong");
  return {};
}

}  // namespace quoin::scenarios
