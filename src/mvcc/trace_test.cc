// Runs testdata/*.txt: a command, then what it must answer. QUOIN_REWRITE=1 writes the answers into the
// files.
//
//   put K=V [lease=N] [prev] [ignore_value] [ignore_lease]      txn: the commands up to `end` are one
//   transaction delete K [END] [prev]                                       compact R; settle (let
//   compactions end); reopen range K [END] [rev=] [limit=] [order=asc|desc]
//   [target=key|version|create|mod|value] [count_only]
//         [min_mod=] [max_mod=] [min_create=] [max_create=]     hash R; leases; records
//   watch ID K [END] [start=] [prev] [no_put] [no_delete] [fragment] [notify]; cancel ID; progress; tick;
//   room N events: what the stream has been sent since it was last asked
// "\0" stands for a zero byte.
#include <gtest/gtest.h>

#include <cstdlib>
#include <filesystem>
#include <fstream>
#include <map>
#include <sstream>

#include "mvcc/fake_backend_test.h"
#include "mvcc/fake_leases_test.h"
#include "mvcc/hash_kv.h"
#include "mvcc/key_value.h"
#include "mvcc/store.h"
#include "mvcc/watch.h"
#include "wire/kv.h"
#include "wire/message.h"
#include "wire/rpc.h"

namespace quoin::mvcc {
namespace {

std::string shown(std::string_view bytes) {
  std::string s;
  for (const char c : bytes) s += c == '\0' ? std::string("\\0") : std::string(1, c);
  return s;
}
std::string unescaped(std::string s) {
  for (size_t at; (at = s.find("\\0")) != std::string::npos;) s.replace(at, 2, 1, '\0');
  return s;
}

struct Command {
  std::string name;
  std::vector<std::string> words;            // without '='
  std::map<std::string, std::string> named;  // a=b
  bool flag(const std::string& f) const { return std::find(words.begin(), words.end(), f) != words.end(); }
  int64_t number(const std::string& n) const {
    const auto it = named.find(n);
    return it == named.end() ? 0 : std::stoll(it->second);
  }
  static Command parse(const std::string& line) {
    Command c;
    std::istringstream in(line);
    in >> c.name;
    for (std::string word; in >> word;) {
      const size_t eq = word.find('=');
      if (eq == std::string::npos) {
        c.words.push_back(unescaped(word));
      } else {
        c.named[unescaped(word.substr(0, eq))] = unescaped(word.substr(eq + 1));
      }
    }
    return c;
  }
};

class Runner final : WatchSink {
 public:
  Runner() { open(); }
  ~Runner() override {
    table_.reset();
    store_.reset();
  }

  std::string run(const std::string& line) {
    const Command c = Command::parse(line);
    if (c.name == "txn") {
      in_txn_ = true;
      txn_ = &store_->begin();
      return "";
    }
    if (c.name == "end") {
      in_txn_ = false;
      const std::string answer = fmt::format("rev {}\n", store_->end());
      table_->publish();
      return answer;
    }
    if (c.name == "put") return put(c);
    if (c.name == "delete") return erase(c);
    if (c.name == "range") return range(c);
    if (c.name == "compact") {
      const auto r = store_->compact(
          std::stoll(c.words.at(0)), [] {}, [] {});
      return r ? "ok\n" : error(r.error());
    }
    if (c.name == "settle") {
      while (backend_.run() || store_->maintain(10)) {
      }
      return "ok\n";
    }
    if (c.name == "reopen") {
      table_.reset();
      store_.reset();
      backend_.crash(0);
      open();
      return fmt::format("rev {} compacted {}\n", store_->revision(), store_->compact_revision());
    }
    if (c.name == "hash") return hash(std::stoll(c.words.at(0)));
    if (c.name == "leases") {
      std::string s;
      for (const auto& [key, lease] : leases_.of) s += fmt::format("{} {}\n", key, lease.v);
      return s;
    }
    if (c.name == "records") {
      std::string s;
      for (size_t i = 0; i < backend_.records().size; ++i) {
        const auto& r = backend_.records().all[i];
        s += fmt::format("{}_{}{} {}\n", r.revision.main, r.revision.sub, r.tombstone ? "t" : "",
                         shown(*decode_key(r.value.view())));
      }
      return s;
    }
    return watch_command(c);
  }

 private:
  void open() {
    leases_.of.clear();
    registry_ = std::make_unique<metrics::Registry>();
    store_ = std::move(*Store::restore(backend_, leases_, *registry_));
    table_ = std::make_unique<WatchTable>(*store_, *registry_);
    stream_ = table_->open_stream(*this);
  }
  static std::string error(const Error& e) { return fmt::format("error: {}\n", e.text()); }
  static std::string text(std::string_view bytes) {
    const auto kv = decode_key_value(bytes);
    return fmt::format("{}={} create {} mod {} version {}{}", shown(kv->key), shown(kv->value),
                       kv->create_revision, kv->mod_revision, kv->version,
                       kv->lease ? fmt::format(" lease {}", kv->lease.v) : "");
  }
  WriteTxn& begin() { return in_txn_ ? *txn_ : store_->begin(); }
  std::string end(std::string answer, int64_t revision) {
    if (in_txn_) return fmt::format("rev {}\n", revision) + answer;
    const int64_t after = store_->end();
    table_->publish();
    return fmt::format("rev {}\n", after) + answer;
  }

  std::string put(const Command& c) {
    PutRequest q;
    for (const auto& [name, value] : c.named) {
      if (name == "lease") continue;
      q.key = name;
      q.value = value;
    }
    if (q.key.empty()) q.key = c.words.at(0);
    q.lease = LeaseId(c.number("lease"));
    q.prev_kv = c.flag("prev");
    q.ignore_value = c.flag("ignore_value");
    q.ignore_lease = c.flag("ignore_lease");
    WriteTxn& txn = begin();
    const auto r = txn.put(q);
    const std::string answer = !r ? error(r.error()) : r->prev_kv ? "prev " + text(*r->prev_kv) + "\n" : "";
    return end(answer, txn.revision());
  }
  std::string erase(const Command& c) {
    WriteTxn& txn = begin();
    std::string prev;
    const std::string to = c.words.size() > 1 && c.words[1] != "prev" ? c.words[1] : "";
    KvVisitor visit;
    if (c.flag("prev")) {
      visit = [&](std::string_view bytes) {
        prev += "prev " + text(bytes) + "\n";
        return true;
      };
    }
    const auto n = txn.delete_range(c.words.at(0), to, visit);
    return end(fmt::format("deleted {}\n", *n) + prev, txn.revision());
  }
  std::string range(const Command& c) {
    RangeRequest q;
    q.key = c.words.at(0);
    if (c.words.size() > 1 && c.words[1] != "count_only") q.range_end = c.words[1];
    q.limit = c.number("limit");
    q.revision = c.number("rev");
    q.count_only = c.flag("count_only");
    q.min_mod_revision = c.number("min_mod");
    q.max_mod_revision = c.number("max_mod");
    q.min_create_revision = c.number("min_create");
    q.max_create_revision = c.number("max_create");
    auto pick = [&](const char* name, std::initializer_list<const char*> names) {
      const auto it = c.named.find(name);
      if (it == c.named.end()) return 0;
      return static_cast<int>(std::find(names.begin(), names.end(), it->second) - names.begin());
    };
    q.sort_order = static_cast<SortOrder>(pick("order", {"none", "asc", "desc"}));
    q.sort_target = static_cast<SortTarget>(pick("target", {"key", "version", "create", "mod", "value"}));
    auto scan = in_txn_ ? txn_->range(q) : RangeScan::start(store_->publish(), q);
    if (!scan) return error(scan.error());
    std::string out;
    const auto done = scan->run([&](std::string_view bytes) {
      out += text(bytes) + "\n";
      return true;
    });
    CHECK(done.has_value());
    return out + fmt::format("rev {} count {}{}\n", scan->header_revision(), scan->count(),
                             scan->more() ? " more" : "");
  }
  std::string hash(int64_t revision) {
    auto run = HashKvRun::start(store_->publish(), revision);
    if (!run) return error(run.error());
    while (!*run->step(2)) {
    }
    const HashKvResult r = run->result();
    return fmt::format("hash {} compact {} revision {}\n", r.hash, r.compact_revision, r.hash_revision);
  }

  std::string watch_command(const Command& c) {
    if (c.name == "watch") {
      WatchRequest q;
      q.watch_id = std::stoll(c.words.at(0));
      q.key = c.words.at(1);
      static const std::vector<std::string> kFlags = {"prev", "no_put", "no_delete", "fragment", "notify"};
      if (c.words.size() > 2 && std::find(kFlags.begin(), kFlags.end(), c.words[2]) == kFlags.end()) {
        q.range_end = c.words[2];
      }
      q.start_revision = c.number("start");
      q.prev_kv = c.flag("prev");
      q.no_put = c.flag("no_put");
      q.no_delete = c.flag("no_delete");
      q.fragment = c.flag("fragment");
      q.progress_notify = c.flag("notify");
      table_->create(stream_, q);
      return events();
    }
    if (c.name == "cancel") {
      table_->cancel(stream_, std::stoll(c.words.at(0)));
    } else if (c.name == "progress") {
      table_->request_progress(stream_);
    } else if (c.name == "tick") {
      table_->progress_tick(stream_);
    } else if (c.name == "room") {
      room_ = std::stoll(c.words.at(0));
      table_->has_room(stream_);
    } else {
      CHECK(c.name == "events", "unknown command {}", c.name);
    }
    return events();
  }
  std::string events() {
    while (work_) {
      auto work = std::move(work_);
      while (*work->step(store_->views().load(), 2, [&](const WatchMessage& m) { return deliver(m); }) !=
             CatchUp::Outcome::kDone) {
      }
      table_->caught_up(std::move(work));
    }
    return std::exchange(sent_, "");
  }
  void control(WatchMessage m) override { sent_ += describe(m); }
  bool deliver(const WatchMessage& m) override {
    if (room_ == 0) return false;
    --room_;
    sent_ += describe(m);
    return true;
  }
  void catch_up(std::unique_ptr<CatchUp> work) override { work_ = std::move(work); }
  size_t header_bytes(int64_t) const override { return 24; }
  static std::string describe(const WatchMessage& m) {
    std::string s = fmt::format("watch {} rev {}", m.watch_id, m.header_revision);
    if (m.created) s += " created";
    if (m.canceled) s += " canceled";
    if (m.compact_revision) s += fmt::format(" compacted {}", m.compact_revision);
    if (!m.cancel_reason.empty()) s += " reason: " + m.cancel_reason;
    if (m.progress()) s += " progress";
    s += "\n";
    const auto response = wire::decode<wire::etcdserverpb::WatchResponse>(m.events.view());
    for (const auto& e : response->events) {
      const bool put = e.type == wire::mvccpb::Event::EventType::kPut;
      s += fmt::format("  {} {}{}\n", put ? "PUT" : "DELETE", text(e.kv->bytes),
                       e.prev_kv ? "; before: " + text(e.prev_kv->bytes) : "");
    }
    return s;
  }

  FakeBackend backend_;
  FakeLeases leases_;
  std::unique_ptr<metrics::Registry> registry_;
  std::unique_ptr<Store> store_;
  std::unique_ptr<WatchTable> table_;
  StreamId stream_;
  WriteTxn* txn_ = nullptr;
  bool in_txn_ = false;
  std::string sent_;
  std::unique_ptr<CatchUp> work_;
  int64_t room_ = INT64_MAX;
};

class Trace : public ::testing::TestWithParam<std::string> {};

TEST_P(Trace, AnswersAsWritten) {
  const std::string path = GetParam();
  std::ifstream in(path);
  ASSERT_TRUE(in.good()) << path;
  std::ostringstream all;
  all << in.rdbuf();
  const std::string want = all.str();
  std::string got;
  Runner runner;
  std::istringstream lines(want);
  std::vector<std::string> commands;
  bool answering = false;
  auto answer = [&] {
    if (commands.empty()) return;
    got += "----\n";
    for (const std::string& command : commands) got += runner.run(command);
    commands.clear();
  };
  // A block is commands, a line of dashes, the answers, an empty line.
  for (std::string line; std::getline(lines, line);) {
    if (line.empty()) {
      answer();
      got += "\n";
      answering = false;
    } else if (line == "----") {
      answering = true;
    } else if (!answering) {
      got += line + "\n";
      if (line[0] != '#') commands.push_back(line);
    }
  }
  answer();
  if (std::getenv("QUOIN_REWRITE")) {
    std::ofstream(path) << got;
    return;
  }
  EXPECT_EQ(got, want) << path;
}

std::vector<std::string> traces() {
  std::vector<std::string> paths;
  for (const auto& f : std::filesystem::directory_iterator(QUOIN_SOURCE_DIR "/src/mvcc/testdata")) {
    paths.push_back(f.path().string());
  }
  std::sort(paths.begin(), paths.end());
  return paths;
}
INSTANTIATE_TEST_SUITE_P(Files, Trace, ::testing::ValuesIn(traces()),
                         [](const auto& info) { return std::filesystem::path(info.param).stem().string(); });

}  // namespace
}  // namespace quoin::mvcc
