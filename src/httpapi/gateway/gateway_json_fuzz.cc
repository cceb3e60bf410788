// A byte that chooses a message, one that says how the text is cut, then JSON. What is read is valid protobuf,
// whatever the cuts were; written as JSON and read again it is the same message.
#include <algorithm>
#include <cstdint>
#include <cstdlib>
#include <deque>
#include <optional>
#include <string>

#include "base/check.h"
#include "base/utf8.h"
#include "httpapi/gateway/json_reader.h"
#include "httpapi/gateway/json_writer.h"
#include "httpapi/gateway/value_scanner.h"
#include "pb/rpc.pb.h"

namespace {
using namespace quoin;
using namespace quoin::httpapi::gateway;

// Nothing: an error, which `error` tells.
std::optional<std::string> read(const MessageType& type, std::string_view json, size_t cut,
                                std::string& error) {
  ValueScanner scanner;
  size_t end = 0;
  auto outcome = ValueScanner::Outcome::kMore;
  while (outcome == ValueScanner::Outcome::kMore && end < json.size()) {
    size_t taken = 0;
    const size_t n = std::min(cut, json.size() - end);
    outcome = scanner.feed(json.substr(end, n), taken);
    CHECK_LE(taken, n);
    end += taken;
  }
  if (outcome == ValueScanner::Outcome::kMore) outcome = scanner.end();
  if (outcome != ValueScanner::Outcome::kValue) {
    error = outcome == ValueScanner::Outcome::kMore ? "EOF" : scanner.error();
    return std::nullopt;
  }
  const size_t begin = json.find_first_not_of(" \t\r\n");
  JsonReader reader(type, json.substr(begin, end - begin));
  for (;;) {
    const auto done = reader.step(cut);
    if (!done) {
      error = done.error().text();
      return std::nullopt;
    }
    if (*done) return reader.take();
  }
}

template <class Message>
void check(std::string_view json, size_t cut) {
  const MessageType& type = schema_of(*Message::descriptor());
  std::string error, other;
  const auto bytes = read(type, json, 1 << 20, error);
  const auto again = read(type, json, cut, other);
  CHECK(bytes == again && error == other, "{} / {}", error, other);
  CHECK(bytes || !error.empty());
  if (!bytes) return;
  Message m;
  CHECK(m.ParseFromString(*bytes));
  std::string text;
  std::deque<Blob> pieces;
  for (size_t i = 0; i < bytes->size(); i += cut)
    pieces.push_back(Blob::copy(std::string_view(*bytes).substr(i, cut)));
  JsonWriter writer(type, std::move(pieces));
  for (;;) {
    const auto done = writer.step(cut, text);
    CHECK(done.has_value());
    if (*done) break;
  }
  CHECK(valid_utf8(text));
  const auto back = read(type, text, cut, error);
  CHECK(back.has_value(), "{}: {}", text, error);
  Message n;
  CHECK(n.ParseFromString(*back));
  CHECK(n.SerializeAsString() == m.SerializeAsString());
}

}  // namespace

extern "C" int LLVMFuzzerTestOneInput(const uint8_t* data, size_t size) {
  if (size < 2) return 0;
  const std::string_view json(reinterpret_cast<const char*>(data) + 2, size - 2);
  const size_t cut = data[1] + size_t{1};
  switch (data[0] % 5) {
    case 0:
      check<etcdserverpb::RangeRequest>(json, cut);
      break;
    case 1:
      check<etcdserverpb::TxnRequest>(json, cut);
      break;
    case 2:
      check<etcdserverpb::WatchRequest>(json, cut);
      break;
    case 3:
      check<etcdserverpb::MemberAddRequest>(json, cut);
      break;
    case 4:
      check<etcdserverpb::AuthRoleGrantPermissionRequest>(json, cut);
      break;
  }
  // Any bytes as a message: what is no message is not read beyond its end.
  JsonWriter writer(schema_of(*etcdserverpb::TxnResponse::descriptor()), {Blob::copy(json)});
  std::string out;
  for (size_t i = 0; i < size * 64 + 64; ++i) {
    const auto done = writer.step(cut, out);
    if (!done || *done) return 0;
  }
  CHECK(false, "the writer does not end");
  return 0;
}
