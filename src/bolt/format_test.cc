#include "bolt/format.h"

#include <gtest/gtest.h>

#include <algorithm>
#include <set>
#include <vector>

#include "base/prng.h"
#include "bolt/spill.h"

namespace quoin::bolt {
namespace {

std::string from_hex(std::string_view text) {
  std::string bytes;
  std::string digits;
  for (char c : text)
    if (c != ' ') digits += c;
  for (size_t i = 0; i + 1 < digits.size(); i += 2) {
    uint64_t v = 0;
    EXPECT_TRUE(parse_hex(std::string_view(digits).substr(i, 2), &v));
    bytes += static_cast<char>(v);
  }
  return bytes;
}

TEST(Meta, KnownBytes) {
  // A meta page of a real file.
  const std::string bytes = from_hex(
      "0000 0000 0000 0000 0400 0000 0000 0000 edda 0ced 0200 0000 0010 0000 0000 0000"
      "0d00 0000 0000 0000 0000 0000 0000 0000 ffff ffff ffff ffff 0f00 0000 0000 0000"
      "4600 0000 0000 0000 9730 f510 6d5d c20c");
  ASSERT_EQ(bytes.size(), 80u);
  std::string_view why;
  const auto meta = Meta::read(bytes.data(), &why);
  ASSERT_TRUE(meta) << why;
  EXPECT_EQ(meta->page_size, 4096u);
  EXPECT_EQ(meta->root, PageId(13));
  EXPECT_EQ(meta->root_sequence, 0u);
  EXPECT_EQ(meta->freelist, kNoFreelist);
  EXPECT_EQ(meta->hwm, PageId(15));
  EXPECT_EQ(meta->txid, TxId(70));
  std::string written(80, '\x55');
  meta->write(written.data(), 0);
  EXPECT_EQ(hex_bytes(written), hex_bytes(bytes));
}

TEST(Meta, EveryFlippedByteIsSeen) {
  Meta m;
  m.page_size = 4096;
  m.root = PageId(3);
  m.hwm = PageId(4);
  m.txid = TxId(9);
  std::string good(80, '\0');
  m.write(good.data(), 1);
  for (size_t i = kPageHeaderBytes; i < good.size(); ++i) {
    for (int bit = 0; bit < 8; ++bit) {
      std::string bad = good;
      bad[i] = static_cast<char>(bad[i] ^ (1 << bit));
      std::string_view why;
      EXPECT_FALSE(Meta::read(bad.data(), &why)) << i;
      EXPECT_EQ(why, i < 20 ? "invalid database" : i < 24 ? "version mismatch" : "checksum error");
    }
  }
}

TEST(PageView, KnownLeafAndSearch) {
  std::string page(1024, '\0');
  PageHeader{PageId(2), kFlagLeaf, 3, 0}.write(page.data());
  const std::vector<std::pair<std::string, std::string>> items = {{"b", "1"}, {"d", "22"}, {"dd", ""}};
  size_t data = node_bytes(items.size(), 0);
  for (size_t i = 0; i < items.size(); ++i) {
    char* e = page.data() + kPageHeaderBytes + i * kElementBytes;
    store_le<uint32_t>(e + 4, static_cast<uint32_t>(data - (kPageHeaderBytes + i * kElementBytes)));
    store_le<uint32_t>(e + 8, static_cast<uint32_t>(items[i].first.size()));
    store_le<uint32_t>(e + 12, static_cast<uint32_t>(items[i].second.size()));
    page.replace(data, items[i].first.size(), items[i].first);
    page.replace(data + items[i].first.size(), items[i].second.size(), items[i].second);
    data += items[i].first.size() + items[i].second.size();
  }
  EXPECT_EQ(validate_page(page.data(), PageId(2), 1024, 1024, PageId(3)), std::nullopt);
  const PageView view(page.data());
  EXPECT_EQ(view.used_bytes(), data);
  for (size_t i = 0; i < items.size(); ++i) {
    EXPECT_EQ(view.key(i), items[i].first);
    EXPECT_EQ(view.value(i), items[i].second);
  }
  EXPECT_EQ(view.lower_bound("a"), 0u);
  EXPECT_EQ(view.lower_bound("b"), 0u);
  EXPECT_EQ(view.lower_bound("c"), 1u);
  EXPECT_EQ(view.lower_bound("dc"), 2u);
  EXPECT_EQ(view.lower_bound("e"), 3u);
}

// Keys that differ early, late, only in length, and around the sign of a byte; the page ends with the last
// one.
TEST(PageView, SearchAgreesWithASortedList) {
  Prng prng(7);
  const auto random_key = [&] {
    std::string key = prng.chance(1, 2) ? be64(prng.below(3)) : std::string();
    key.resize(key.size() + prng.between(1, 18));
    for (size_t i = key.size() < 8 ? 0 : 8 * prng.below(2); i < key.size(); ++i)
      key[i] = "\x00\x01\x7f\x80\xff"[prng.below(5)];
    return key;
  };
  for (int round = 0; round < 400; ++round) {
    std::set<std::string> keys;
    for (uint64_t n = prng.between(1, 60); n > 0; --n) keys.insert(random_key());
    const std::vector<std::string> sorted(keys.begin(), keys.end());
    for (const bool leaf : {true, false}) {
      Node node(leaf);
      for (const std::string& k : sorted)
        node.entries.push_back(leaf ? Entry::item(k, {}, 0) : Entry::branch(k, PageId(3), nullptr));
      std::vector<char> bytes(node.bytes());
      encode_node(node, 0, sorted.size(), {PageId(2), 0, 0, 0}, bytes.data());
      const PageView page(bytes.data());
      for (int i = 0; i < 60; ++i) {
        const std::string key = prng.chance(1, 2) ? random_key() : sorted[prng.below(sorted.size())];
        if (leaf) {
          const auto at = std::lower_bound(sorted.begin(), sorted.end(), key) - sorted.begin();
          ASSERT_EQ(page.lower_bound(key), static_cast<size_t>(at));
          // The range of the page, wide or tight.
          const std::string from = prng.chance(1, 2) ? sorted.front() : sorted.front().substr(0, 1);
          const std::string to = sorted.back() + (prng.chance(1, 2) ? "\xff" : std::string(1, '\0'));
          ASSERT_EQ(page.lower_bound_between(key, from, to), static_cast<size_t>(at));
        } else {
          const auto above = std::upper_bound(sorted.begin(), sorted.end(), key) - sorted.begin();
          ASSERT_EQ(page.child_index(key), static_cast<size_t>(std::max<ptrdiff_t>(above, 1) - 1));
        }
      }
    }
  }
}

// Revisions without gaps are found at the first look, those with gaps all the same.
TEST(PageView, SearchAmongRevisions) {
  Prng prng(8);
  const auto revision = [](uint64_t main, uint64_t sub) {
    std::string key = be64(main);
    key.push_back('_');
    key.append(be64(sub));
    return key;
  };
  for (const uint64_t gap_max : {1, 2, 50}) {
    Node node(true);
    std::vector<std::string> keys;
    uint64_t main = 1000;
    for (int i = 0; i < 100; ++i, main += prng.between(1, gap_max)) keys.push_back(revision(main, 0));
    for (const std::string& k : keys) node.entries.push_back(Entry::item(k, {}, 0));
    std::vector<char> bytes(node.bytes());
    encode_node(node, 0, keys.size(), {PageId(2), 0, 0, 0}, bytes.data());
    const std::string to = revision(main, 0);
    for (uint64_t m = 900; m < main + 100; ++m) {
      const std::string key = revision(m, prng.below(2));
      const auto at = std::lower_bound(keys.begin(), keys.end(), key) - keys.begin();
      ASSERT_EQ(PageView(bytes.data()).lower_bound_between(key, keys.front(), to), static_cast<size_t>(at));
    }
  }
}

TEST(ValidatePage, Table) {
  // An empty leaf with one thing wrong at a time.
  struct Case {
    PageHeader header;
    uint64_t available;
    PageId asked;
    std::string expected;
  };
  const PageId hwm(10);
  const std::vector<Case> cases = {
      {{PageId(4), kFlagLeaf, 0, 0}, 8192, PageId(4), ""},
      {{PageId(4), kFlagLeaf, 0, 1}, 8192, PageId(4), ""},
      {{PageId(5), kFlagLeaf, 0, 0}, 8192, PageId(4), "Page expected to be: 4, but self identifies as 5"},
      {{PageId(4), kFlagMeta, 0, 0}, 8192, PageId(4), "page 4: invalid type: meta"},
      {{PageId(4), 3, 0, 0}, 8192, PageId(4), "page 4: invalid type: unknown<03>"},
      {{PageId(4), kFlagBranch, 0, 0}, 8192, PageId(4), "page 4: branch without children"},
      {{PageId(4), kFlagLeaf, 0, 6}, 1 << 20, PageId(4), "page 4: 6 overflow pages go out of bounds: 10"},
      {{PageId(4), kFlagLeaf, 0, 2}, 8192, PageId(4), "page 4: 2 overflow pages go out of bounds: 10"},
      {{PageId(4), kFlagLeaf, 0, 0}, 100, PageId(4), "page 4: the file ends before it"},
      {{PageId(4), kFlagLeaf, 300, 0}, 8192, PageId(4), "page 4: 300 elements do not fit into 4096 bytes"},
      {{PageId(4), kFlagLeaf, 1, 0}, 8192, PageId(4), "page 4: element 0: its key is at byte 16, not 32"},
      {{PageId(10), kFlagLeaf, 0, 0}, 8192, PageId(10), "page 10: out of bounds: 10"},
      {{PageId(1), kFlagLeaf, 0, 0}, 8192, PageId(1), "page 1: out of bounds: 10"},
  };
  for (const Case& c : cases) {
    std::string bytes(8192, '\0');
    c.header.write(bytes.data());
    EXPECT_EQ(validate_page(bytes.data(), c.asked, 4096, c.available, hwm).value_or(""), c.expected);
  }
}

}  // namespace
}  // namespace quoin::bolt
