// What etcd 3.6's own decoders and encoders made of some thousand inputs, good and bad; written by
// tools/wire-vectors. Error texts reach clients, so they are compared to the letter.
#include <google/protobuf/stubs/logging.h>
#include <gtest/gtest.h>

#include <fstream>
#include <map>

#include "base/coding.h"
#include "wire/pb_twin_test.h"
#include "wire/registry.h"

namespace quoin::wire {
namespace {

std::string unhex(std::string_view text) {
  std::string out;
  if (text == "-") return out;
  for (size_t i = 0; i + 1 < text.size(); i += 2) {
    uint64_t byte = 0;
    EXPECT_TRUE(parse_hex(text.substr(i, 2), &byte)) << text;
    out += static_cast<char>(byte);
  }
  return out;
}

// Raw messages keep the form they came in, where Go writes its own; libprotobuf tells whether both mean the
// same.
bool same_meaning(std::string_view name, const std::string& a, const std::string& b) {
  const auto ma = new_pb_message(name), mb = new_pb_message(name);
  return ma->ParsePartialFromString(a) && mb->ParsePartialFromString(b) && serialized(*ma) == serialized(*mb);
}

TEST(GoVectors, SameBytesAndSameErrors) {
  const gpb::LogSilencer quiet;  // about strings that are not UTF-8, which Go takes
  std::map<std::string_view, const MessageInfo*> by_name;
  std::map<std::string_view, bool> raw;
  for (const auto& info : messages()) {
    by_name[info.full_name] = &info;
    raw[info.full_name] = holds_raw(info.full_name);
  }
  std::ifstream file(QUOIN_SOURCE_DIR "/src/wire/testdata/go_vectors.txt");
  ASSERT_TRUE(file) << "no vectors";
  std::set<std::string_view> reached;
  size_t lines = 0;
  for (std::string line; std::getline(file, line); ++lines) {
    const size_t a = line.find(' '), b = line.find(' ', a + 1);
    ASSERT_NE(b, std::string::npos) << line;
    const auto it = by_name.find(std::string_view(line).substr(0, a));
    ASSERT_NE(it, by_name.end()) << line;
    reached.insert(it->first);
    const auto out = it->second->recode(unhex(std::string_view(line).substr(a + 1, b - a - 1)));
    const std::string expected = line.substr(b + 3);
    if (line[b + 1] == '!') {
      EXPECT_EQ(out ? "decoded" : std::string(out.error().text()), expected) << line;
      continue;
    }
    if (!out) {
      ADD_FAILURE() << line << "\n  ours: " << out.error().text();
      continue;
    }
    if (raw[it->first] && same_meaning(it->first, *out, unhex(expected))) continue;
    EXPECT_EQ(hex_bytes(*out), expected == "-" ? "" : expected) << line;
  }
  EXPECT_GT(lines, 3000u);
  // Go's 3.6 has no RangeStream, and its health messages are decoded by another library.
  for (const auto& [name, info] : by_name) {
    if (name.substr(0, 5) == "grpc." || name == "etcdserverpb.RangeStreamResponse") continue;
    EXPECT_TRUE(reached.count(name)) << name;
  }
}

}  // namespace
}  // namespace quoin::wire
