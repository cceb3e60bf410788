#include <gtest/gtest.h>

#include <set>

#include "base/blob.h"
#include "base/coding.h"
#include "base/crc32c.h"
#include "base/ids.h"
#include "base/metrics.h"
#include "base/prng.h"
#include "base/result.h"

namespace quoin {
namespace {

TEST(Crc32c, CheckValueAndChaining) {
  EXPECT_EQ(crc32c(0, "123456789"), 0xe3069283u);
  EXPECT_EQ(crc32c(crc32c(0, "1234"), "56789"), 0xe3069283u);
  EXPECT_EQ(crc32c(0, ""), 0u);
}

TEST(Coding, HexForms) {
  EXPECT_EQ(hex(0), "0");
  EXPECT_EQ(hex(0x0dae9bbc11dd390dull), "dae9bbc11dd390d");
  EXPECT_EQ(hex16(0x63), "0000000000000063");
  uint64_t v = 0;
  EXPECT_TRUE(parse_hex("0000000000000063", &v));
  EXPECT_EQ(v, 0x63u);
  for (std::string_view bad : {"", "g", "12345678901234567", "1 ", "-1"})
    EXPECT_FALSE(parse_hex(bad, &v)) << bad;
  EXPECT_EQ(be64(0x0102030405060708ull), std::string_view("\1\2\3\4\5\6\7\10", 8));
}

TEST(Blob, SliceKeepsTheWholeAlive) {
  Blob part;
  {
    Blob whole = Blob::copy("hello world");
    part = whole.slice(whole.view().substr(6));
  }
  EXPECT_EQ(part.view(), "world");
  Blob other = part;
  EXPECT_EQ(other.view().data(), part.view().data());
  EXPECT_TRUE(Blob::copy("").empty());
}

TEST(Error, TableTextsAndOwnTexts) {
  Error e(Code::kCompacted);
  EXPECT_EQ(e.text(), "etcdserver: mvcc: required revision has been compacted");
  EXPECT_EQ(e.grpc_status(), GrpcStatus::kOutOfRange);
  EXPECT_EQ(e.prefixed("applyTxn").text(),
            "applyTxn: etcdserver: mvcc: required revision has been compacted");
  auto f = [](bool fail) -> Result<int> {
    auto g = [&]() -> Result<int> {
      if (fail) return make_error(Code::kIo, "read {}", "x");
      return 7;
    };
    ASSIGN_OR_RETURN(int v, g());
    return v + 1;
  };
  EXPECT_EQ(*f(false), 8);
  EXPECT_EQ(f(true).error().text(), "read x");
}

TEST(Prng, SameSeedSameSequenceAndBounds) {
  Prng a(42), b(42);
  std::set<uint64_t> seen;
  for (int i = 0; i < 1000; ++i) {
    EXPECT_EQ(a.next(), b.next());
    const uint64_t v = a.between(3, 7);
    EXPECT_EQ(v, b.between(3, 7));
    EXPECT_GE(v, 3u);
    EXPECT_LE(v, 7u);
    seen.insert(v);
  }
  EXPECT_EQ(seen.size(), 5u);
}

TEST(Metrics, HistogramBucketsAreUpperInclusive) {
  metrics::Registry r;
  auto& h = r.histogram("h", "help", metrics::exponential_buckets(1, 2, 3));  // 1 2 4
  for (double v : {0.5, 1.0, 1.5, 4.0, 9.0}) h.observe(v);
  EXPECT_EQ(h.bucket(0), 2u);
  EXPECT_EQ(h.bucket(1), 1u);
  EXPECT_EQ(h.bucket(2), 1u);
  EXPECT_EQ(h.bucket(3), 1u);
  EXPECT_DOUBLE_EQ(h.sum(), 16.0);
  r.counter("a", "help").inc(3);
  std::vector<std::string> names;
  r.visit([&](const metrics::Family& f) { names.push_back(f.name); });
  EXPECT_EQ(names, (std::vector<std::string>{"a", "h"}));
}

TEST(Ids, ExplicitAndOrdered) {
  EXPECT_LT(Index(1), Index(2));
  EXPECT_EQ(Index(5) - Index(2), 3u);
  EXPECT_EQ(fmt::format("{}", Term(9)), "9");
  EXPECT_LT((Revision{2, 5}), (Revision{3, 0}));
}

}  // namespace
}  // namespace quoin
