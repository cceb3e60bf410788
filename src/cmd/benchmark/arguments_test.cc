#include "cmd/benchmark/arguments.h"

#include <gtest/gtest.h>

#include "cmd/benchmark/requests.h"
#include "wire/message.h"
#include "wire/rpc.h"

namespace quoin::cmd::bench {
namespace {

ArgumentsOrEnd read(const std::vector<std::string>& words) {
  return read_arguments("benchmark", words);
}
std::string fault(const std::vector<std::string>& words) {
  const ArgumentsOrEnd r = read(words);
  EXPECT_FALSE(r.arguments);
  EXPECT_EQ(r.exit_code, 1);
  EXPECT_EQ(r.out, "");
  return r.err;
}

TEST(Arguments, Defaults) {
  const auto r = read({"put"});
  ASSERT_TRUE(r.arguments);
  const Arguments& a = *r.arguments;
  EXPECT_EQ(a.command, Command::kPut);
  EXPECT_EQ(a.endpoints, std::vector<std::string>{"127.0.0.1:2379"});
  EXPECT_EQ(a.conns, 1u);
  EXPECT_EQ(a.clients, 1u);
  EXPECT_EQ(a.key_size, 8);
  EXPECT_EQ(a.val_size, 8);
  EXPECT_EQ(a.rate, 0);
  EXPECT_EQ(a.total, 10'000);
  EXPECT_EQ(a.key_space_size, 1);
  EXPECT_EQ(a.compact_index_delta, 1000);
  EXPECT_FALSE(a.json);
  EXPECT_FALSE(a.tls());
}

TEST(Arguments, EachCommandHasItsOwn) {
  EXPECT_EQ(read({"watch-latency"}).arguments->rate, 100);
  EXPECT_EQ(read({"watch-latency"}).arguments->total, 1000);
  EXPECT_EQ(read({"watch-latency"}).arguments->watchers, 10);
  EXPECT_EQ(read({"watch-get"}).arguments->watchers, 10'000);
  EXPECT_EQ(read({"watch", "--watch-per-stream=3"}).arguments->watchers, 3);
  EXPECT_EQ(read({"txn-mixed", "--rw-ratio", "2.5"}).arguments->rw_ratio, 2.5);
  EXPECT_EQ(read({"txn-mixed", "--consistency=s"}).arguments->serializable, true);
  EXPECT_EQ(read({"range", "a", "b", "--limit", "7"}).arguments->range_end, "b");
  EXPECT_EQ(read({"stm", "--isolation=ss"}).arguments->isolation, "ss");
  EXPECT_TRUE(read({"-w", "json", "lease-keepalive"}).arguments->json);
  EXPECT_TRUE(read({"put", "--cacert=x"}).arguments->tls());
}

TEST(Arguments, Faults) {
  EXPECT_EQ(fault({"put", "--key-space-size", "0"}), "expected positive --key-space-size, got (0)");
  EXPECT_EQ(fault({"txn-put", "--txn-ops", "2"}),
            "expected --txn-ops no larger than --key-space-size, got txn-ops(2) key-space-size(1)\n");
  EXPECT_EQ(fault({"stm", "--keys", "0"}), "expected positive --keys, got (0)");
  EXPECT_EQ(fault({"stm", "--txn-wr-percent", "101"}), "expected [0, 100] --txn-wr-percent, got (101)");
  EXPECT_EQ(fault({"stm", "--keys-per-txn", "2"}), "expected --keys-per-txn between 0 and 1, got (2)");
  EXPECT_EQ(fault({"stm", "--stm-locker", "x"}), "unexpected stm locker \"x\"\n");
  EXPECT_EQ(fault({"put", "--key-size=1", "--key-space-size=1000"}),
            "expected --key-size of at least 2 for --key-space-size 1000, got (1)\n");
  EXPECT_EQ(fault({"put", "-w", "table"}), "unknown output format \"table\", expected simple or json\n");
  EXPECT_EQ(fault({"put", "--conns=0"}), "expected --conns between 1 and 100000, got (0)\n");
  EXPECT_EQ(fault({"put", "--val-size=-1"}), "expected --val-size between 0 and 100000000, got (-1)\n");
  EXPECT_EQ(fault({"watch", "--streams=1000001"}),
            "expected --streams between 0 and 1000000, got (1000001)\n");
  EXPECT_EQ(fault({"watch", "--streams=1000000", "--watch-per-stream=100000000"}),
            "expected no more than 100000000 watchers, got (100000000000000)\n");
  EXPECT_NE(fault({"mvcc", "put"}).find("mvcc put: it measures the storage engine"), std::string::npos);
  for (const auto& words : std::vector<std::vector<std::string>>{{"range"},
                                                                 {"range", "a", "b", "c"},
                                                                 {"range", "a", "--consistency=x"},
                                                                 {"txn-mixed", "--consistency=x"},
                                                                 {"stm", "--isolation=x"}}) {
    const std::string text = fault(words);
    EXPECT_TRUE(text.starts_with("Usage:\n  benchmark " + words[0])) << text;
    EXPECT_TRUE(text.ends_with("\n<nil>\n")) << text;
  }
}

TEST(Arguments, FaultsOfTheGrammar) {
  const auto unknown = read({"nope"});
  EXPECT_EQ(unknown.exit_code, 255);
  EXPECT_EQ(unknown.err,
            "Error: unknown command \"nope\" for \"benchmark\"\nRun 'benchmark --help' for usage.\n"
            "unknown command \"nope\" for \"benchmark\"\n");
  const auto number = read({"put", "--total", "x"});
  EXPECT_EQ(number.exit_code, 255);
  EXPECT_TRUE(number.err.ends_with(
      "\n\ninvalid argument \"x\" for \"--total\" flag: strconv.ParseInt: parsing \"x\": invalid syntax\n"))
      << number.err;
  EXPECT_EQ(read({"--help"}).exit_code, 0);
  EXPECT_TRUE(read({"put", "--help"}).out.starts_with("Benchmark put\n\nUsage:\n  benchmark put [flags]\n"));
}

// ---- keys and requests ----

template <size_t N>
constexpr std::string_view bytes(const char (&text)[N]) {
  return {text, N - 1};
}

TEST(KeyBuffer, IsGosVarintOverWhatStoodThere) {
  KeyBuffer key(4);
  EXPECT_EQ(key.write(0), bytes("\0\0\0\0"));
  EXPECT_EQ(key.write(1), bytes("\x02\0\0\0"));
  EXPECT_EQ(key.write(63), bytes("\x7e\0\0\0"));
  EXPECT_EQ(key.write(64), bytes("\x80\x01\0\0"));
  EXPECT_EQ(key.write(1), bytes("\x02\x01\0\0"));  // the second byte is 64's
  EXPECT_EQ(KeyBuffer::varint_bytes(63), 1u);
  EXPECT_EQ(KeyBuffer::varint_bytes(64), 2u);
}

namespace rpc = wire::etcdserverpb;

TEST(Requests, PutsOfASequence) {
  const Arguments a = *read({"put", "--key-space-size=3", "--sequential-keys", "--val-size=5"}).arguments;
  Report report({});
  const auto requests = make_requests(a, {&report}, 1);
  std::vector<char> first;
  std::string value;
  for (uint64_t k = 0; k < 4; ++k) {
    const std::string bytes(requests->make(k));
    const auto put = wire::decode<rpc::PutRequest>(bytes);
    ASSERT_TRUE(put);
    EXPECT_EQ(put->key.size(), 8u);
    EXPECT_EQ(put->value.size(), 5u);
    EXPECT_TRUE(k == 0 || put->value == value);
    value = put->value;
    first.push_back(put->key[0]);
  }
  EXPECT_EQ(first, (std::vector<char>{0, 2, 4, 0}));
}

TEST(Requests, TxnsOfSeveralPuts) {
  const Arguments a = *read({"txn-put", "--key-space-size=10", "--txn-ops=3"}).arguments;
  Report report({});
  const auto requests = make_requests(a, {&report}, 1);
  requests->make(0);
  const std::string bytes(requests->make(3));
  const auto txn = wire::decode<rpc::TxnRequest>(bytes);
  ASSERT_TRUE(txn);
  ASSERT_EQ(txn->success.size(), 3u);
  EXPECT_EQ(txn->success[0].request_put()->key[0], 9 * 2);
  EXPECT_EQ(txn->success[1].request_put()->key[0], 0);
  EXPECT_EQ(txn->success[2].request_put()->key[0], 1 * 2);
}

TEST(Requests, MixedInTheRatioGiven) {
  const Arguments a = *read({"txn-mixed", "--rw-ratio=3", "--consistency=s"}).arguments;
  Report reads({}), writes({});
  const auto requests = make_requests(a, {&reads, &writes}, 1);
  int read_count = 0;
  for (uint64_t k = 0; k < 10'000; ++k) {
    const std::string bytes(requests->make(k));
    const auto txn = wire::decode<rpc::TxnRequest>(bytes);
    ASSERT_TRUE(txn);
    ASSERT_EQ(txn->success.size(), 1u);
    const rpc::RangeRequest* range = txn->success[0].request_range();
    ASSERT_EQ(range != nullptr, &requests->report() == &reads);
    if (range == nullptr) continue;
    ++read_count;
    EXPECT_EQ(range->limit, 1000);
    EXPECT_TRUE(range->serializable);
    EXPECT_EQ(range->key, std::string_view("\0", 1));
    EXPECT_EQ(range->range_end, std::string_view("\0", 1));
  }
  EXPECT_NEAR(read_count, 7500, 200);
}

TEST(Requests, Ranges) {
  const Arguments a = *read({"range", "a", "b", "--limit=4", "--count-only"}).arguments;
  Report report({});
  const auto requests = make_requests(a, {&report}, 1);
  const std::string bytes(requests->make(0));
  const auto range = wire::decode<rpc::RangeRequest>(bytes);
  ASSERT_TRUE(range);
  EXPECT_EQ(range->key, "a");
  EXPECT_EQ(range->range_end, "b");
  EXPECT_EQ(range->limit, 4);
  EXPECT_TRUE(range->count_only);
  EXPECT_FALSE(range->serializable);
}

}  // namespace
}  // namespace quoin::cmd::bench
