// JSON to protobuf and back. The expected texts are those of Go's protojson and encoding/json, as a real etcd 3.6
// sends them (tests/interop/gateway.py compares many more).
#include <gtest/gtest.h>

#include "httpapi/gateway/json_reader.h"
#include "httpapi/gateway/json_writer.h"
#include "httpapi/gateway/value_scanner.h"
#include "pb/rpc.pb.h"

namespace quoin::httpapi::gateway {
namespace {

namespace pb = etcdserverpb;

struct Read {
  std::string error, bytes;
  size_t steps = 0;
};

// Scanned in pieces of `cut` bytes, read in steps of `work`.
Read read(const MessageType& type, std::string_view json, size_t cut = 1 << 20,
          size_t work = JsonReader::kStepWork) {
  ValueScanner scanner;
  size_t end = 0;
  auto outcome = ValueScanner::Outcome::kMore;
  while (outcome == ValueScanner::Outcome::kMore && end < json.size()) {
    size_t taken = 0;
    outcome = scanner.feed(json.substr(end, cut), taken);
    end += taken;
  }
  if (outcome == ValueScanner::Outcome::kMore) outcome = scanner.end();
  if (outcome == ValueScanner::Outcome::kMore) return {"EOF", ""};
  if (outcome == ValueScanner::Outcome::kError) return {scanner.error(), ""};
  const size_t begin = json.find_first_not_of(" \t\r\n");
  JsonReader reader(type, json.substr(begin, end - begin));
  Read out;
  for (;;) {
    ++out.steps;
    const auto done = reader.step(work);
    if (!done) return {std::string(done.error().text()), ""};
    if (*done) break;
  }
  out.bytes = reader.take();
  return out;
}

template <class Message>
Message parse(std::string_view json, size_t cut = 1 << 20, size_t work = JsonReader::kStepWork) {
  const Read r = read(schema_of(*Message::descriptor()), json, cut, work);
  EXPECT_EQ(r.error, "") << json;
  Message m;
  EXPECT_TRUE(m.ParseFromString(r.bytes)) << json;
  return m;
}

template <class Message>
std::string error_of(std::string_view json) {
  const MessageType& type = schema_of(*Message::descriptor());
  const Read whole = read(type, json);
  // However it is cut, the text is the same.
  EXPECT_EQ(read(type, json, 1, 1).error, whole.error) << json;
  return whole.error;
}

template <class Message>
std::string write(const Message& m, size_t cut = 1 << 20, size_t step = 1 << 20) {
  const std::string bytes = m.SerializeAsString();
  std::deque<Blob> pieces;
  for (size_t i = 0; i < bytes.size(); i += cut)
    pieces.push_back(Blob::copy(std::string_view(bytes).substr(i, cut)));
  JsonWriter writer(schema_of(*Message::descriptor()), std::move(pieces));
  std::string out;
  for (;;) {
    const auto done = writer.step(step, out);
    if (!done) return std::string(done.error().text());
    if (*done) return out;
  }
}

TEST(GatewayJson, BothNamesNumbersAndStrings) {
  const auto r = parse<pb::RangeRequest>(
      R"({"key":"Zm9v","rangeEnd":"Zm9w","limit":"12","revision":3e1,"sort_order":"DESCEND","sortTarget":2,)"
      R"("serializable":true,"no such":{"a":[1,{"b":"\ud83d\ude00"}]},"keys_only":null})");
  EXPECT_EQ(r.key(), "foo");
  EXPECT_EQ(r.range_end(), "fop");
  EXPECT_EQ(r.limit(), 12);
  EXPECT_EQ(r.revision(), 30);
  EXPECT_EQ(r.sort_order(), pb::RangeRequest::DESCEND);
  EXPECT_EQ(r.sort_target(), pb::RangeRequest::CREATE);
  EXPECT_TRUE(r.serializable());
  EXPECT_FALSE(r.keys_only());
}

TEST(GatewayJson, NestedTransactionsInAnyCut) {
  const std::string json =
      R"( {"compare":[{"result":"EQUAL","target":"VALUE","key":"a2V5","value":""}],)"
      R"("success":[{"request_put":{"key":"a2V5","value":"dg=="}},)"
      R"({"requestTxn":{"success":[{"request_range":{"key":"a2V5"}}],"failure":[{"request_txn":{}}]}}]} )";
  for (const size_t cut : {1, 2, 3, 7, 1000}) {
    for (const size_t work : {1, 5, 33, 100'000}) {
      const auto t = parse<pb::TxnRequest>(json, cut, work);
      ASSERT_EQ(t.success_size(), 2);
      EXPECT_EQ(t.compare(0).target_union_case(), pb::Compare::kValue);
      EXPECT_EQ(t.success(0).request_put().value(), "v");
      EXPECT_EQ(t.success(1).request_txn().success(0).request_range().key(), "key");
      EXPECT_TRUE(t.success(1).request_txn().failure(0).has_request_txn());
    }
  }
  // As short as libprotobuf writes it: lengths are exact.
  const std::string bytes = read(schema_of(*pb::TxnRequest::descriptor()), json).bytes;
  EXPECT_EQ(bytes.size(), parse<pb::TxnRequest>(json).ByteSizeLong());
}

TEST(GatewayJson, ZerosCountOnlyInAOneof) {
  EXPECT_EQ(parse<pb::PutRequest>(R"({"key":"","value":"","lease":0,"prev_kv":false})").ByteSizeLong(), 0u);
  EXPECT_EQ(read(schema_of(*pb::PutRequest::descriptor()), R"({"key":"","value":"","lease":0})").bytes, "");
  EXPECT_EQ(parse<pb::Compare>(R"({"version":0})").target_union_case(), pb::Compare::kVersion);
  EXPECT_EQ(parse<pb::Compare>(R"({"value":""})").target_union_case(), pb::Compare::kValue);
}

TEST(GatewayJson, Integers) {
  const auto limit = [](std::string_view v) {
    return parse<pb::RangeRequest>(fmt::format(R"({{"limit":{}}})", v)).limit();
  };
  EXPECT_EQ(limit("-0"), 0);
  EXPECT_EQ(limit("1.50e1"), 15);
  EXPECT_EQ(limit("1200e-2"), 12);
  EXPECT_EQ(limit("9223372036854775807"), INT64_MAX);
  EXPECT_EQ(limit("\"-9223372036854775808\""), INT64_MIN);
  EXPECT_EQ(limit("\"5 and more\""), 5);  // Go reads the first word of such a string
  EXPECT_EQ(limit("\"1e}\""), 1);
  for (const std::string_view bad : {"1.5", "9223372036854775808", "\"\"", "\" 1\"", "\"1\\u0085\"",
                                     "\"1\\n\"", "\"0x1\"", "1e20", "true", "\"1e+\"", "{}", "[1]"}) {
    const std::string error = error_of<pb::RangeRequest>(fmt::format(R"({{"limit":{}}})", bad));
    const std::string_view raw = bad[0] == '{' || bad[0] == '[' ? bad.substr(0, 1) : bad;
    EXPECT_EQ(error, fmt::format("proto: (line 1:10): invalid value for int64 field limit: {}", raw));
  }
  EXPECT_EQ(error_of<pb::MemberRemoveRequest>(R"({"ID":-1})"),
            "proto: (line 1:7): invalid value for uint64 field ID: -1");
}

TEST(GatewayJson, Base64) {
  const auto key = [](std::string_view v) {
    return parse<pb::RangeRequest>(fmt::format(R"({{"key":"{}"}})", v)).key();
  };
  EXPECT_EQ(key("Zm8="), "fo");
  EXPECT_EQ(key("Zm8"), "fo");
  EXPECT_EQ(key("Zg"), "f");
  EXPECT_EQ(key("_-8"), "\xff\xef");
  EXPECT_EQ(key("/+8="), "\xff\xef");
  EXPECT_EQ(key("Zm\\n9v\\r\\n\\n"), "foo");  // line breaks are skipped
  EXPECT_EQ(key("Zh"), "f");                  // bits left over, too
  for (const std::string_view bad : {"!!", "Z", "Zg=", "Zg==Zg==", "Z===", "-/8=", "Zm8=="}) {
    EXPECT_EQ(error_of<pb::RangeRequest>(fmt::format(R"({{"key":"{}"}})", bad)),
              fmt::format(R"(proto: (line 1:8): invalid value for bytes field key: "{}")", bad));
  }
}

TEST(GatewayJson, Errors) {
  using R = pb::RangeRequest;
  EXPECT_EQ(error_of<R>("  "), "EOF");
  EXPECT_EQ(error_of<R>("{\"key\""), "unexpected EOF");
  EXPECT_EQ(error_of<R>("v"), "invalid character 'v' looking for beginning of value");
  EXPECT_EQ(error_of<R>("{a"), "invalid character 'a' looking for beginning of object key string");
  EXPECT_EQ(error_of<R>("{\"a\" 1"), "invalid character '1' after object key");
  EXPECT_EQ(error_of<R>("{\"a\":1 2"), "invalid character '2' after object key:value pair");
  EXPECT_EQ(error_of<R>("[1 2"), "invalid character '2' after array element");
  EXPECT_EQ(error_of<R>("\"\xc3\x28\n"), "invalid character '\\n' in string literal");
  EXPECT_EQ(error_of<R>("\xff"), "invalid character 'ÿ' looking for beginning of value");
  EXPECT_EQ(error_of<R>("'"), "invalid character '\\'' looking for beginning of value");
  EXPECT_EQ(error_of<R>("[]"), "proto: syntax error (line 1:1): unexpected token [");
  EXPECT_EQ(error_of<R>("null"), "proto: syntax error (line 1:1): unexpected token null");
  EXPECT_EQ(error_of<R>("\"a b\""), "proto: syntax error (line 1:1): unexpected token \"a b\"");
  EXPECT_EQ(error_of<R>("{\n \"é\":1, \"key\":7}"),
            "proto: (line 2:15): invalid value for bytes field key: 7");
  EXPECT_EQ(error_of<R>(R"({"key":"a","key":"b"})"),
            R"(proto: (line 1:8): invalid value for bytes field key: "a")");
  EXPECT_EQ(error_of<R>(R"({"key":"YQ","key":null})"), R"(proto: (line 1:13): duplicate field "key")");
  EXPECT_EQ(error_of<R>(R"({"rangeEnd":"","range_end":""})"),
            R"(proto: (line 1:16): duplicate field "range_end")");
  EXPECT_EQ(error_of<R>("{\"key\":\"\xff\"}"), "proto: syntax error (line 1:8): invalid UTF-8 in string");
  EXPECT_EQ(error_of<R>("{\"x\":\"\xff\"}"), "proto: syntax error (line 1:6): invalid UTF-8 in string");
  EXPECT_EQ(error_of<R>(R"({"key":"\ud800"})"), "proto: unexpected EOF");
  EXPECT_EQ(error_of<R>(R"({"key":"\ud800aaaaaa"})"),
            R"(proto: syntax error (line 1:8): invalid escape code "aaaaaa" in string)");
  EXPECT_EQ(error_of<pb::TxnRequest>(R"({"success":{}})"),
            "proto: syntax error (line 1:12): unexpected token {");
  EXPECT_EQ(error_of<pb::TxnRequest>(R"({"success":[null]})"),
            "proto: syntax error (line 1:13): unexpected token null");
  EXPECT_EQ(
      error_of<pb::RequestOp>(R"({"request_range":{},"request_put":{}})"),
      R"(proto: (line 1:21): error parsing "request_put", oneof etcdserverpb.RequestOp.request is already set)");
}

TEST(GatewayJson, NestingHasGosBound) {
  const auto nested = [](size_t levels) {
    std::string json;
    for (size_t i = 0; i < levels / 3; ++i) json += R"({"success":[{"request_txn":)";
    json += "{}";
    for (size_t i = 0; i < levels / 3; ++i) json += "}]}";
    return json;
  };
  const MessageType& type = schema_of(*pb::TxnRequest::descriptor());
  EXPECT_EQ(read(type, nested(9'999)).error, "");
  EXPECT_EQ(read(type, nested(10'002)).error, "invalid character '[' exceeded max depth");
  EXPECT_EQ(read(type, std::string(20'000, '[')).error, "invalid character '[' exceeded max depth");
  EXPECT_EQ(read(type, "{\"x\":" + std::string(9'999, '[') + std::string(9'999, ']') + "}").error, "");
}

TEST(GatewayJson, ALargeValueTakesSteps) {
  const std::string json = R"({"key":"YQ","value":")" + std::string(2 << 20, 'A') + R"("})";
  const Read r = read(schema_of(*pb::PutRequest::descriptor()), json);
  EXPECT_EQ(r.error, "");
  EXPECT_GE(r.steps, json.size() / JsonReader::kStepWork);
  pb::PutRequest m;
  ASSERT_TRUE(m.ParseFromString(r.bytes));
  EXPECT_EQ(m.value(), std::string((2 << 20) / 4 * 3, '\0'));
}

// Blanks are what a client may send most of.
TEST(GatewayJson, BlanksTakeSteps) {
  const std::string blanks(100'000, ' ');
  const std::string json = "{" + blanks + "\"key\"" + blanks + ":" + blanks + "\"a2V5\"" + blanks + ",\"x\"" +
                           blanks + ":[" + blanks + "1" + blanks + "]" + blanks + "}";
  JsonReader reader(schema_of(*pb::RangeRequest::descriptor()), json);
  size_t steps = 0;
  for (;; ++steps) {
    const auto done = reader.step(1'000);
    ASSERT_TRUE(done) << done.error().text();
    if (*done) break;
  }
  EXPECT_GT(steps, json.size() / 1'100);
  EXPECT_EQ(parse<pb::RangeRequest>(json, 1000, 1'000).key(), "key");
}

TEST(GatewayJson, Written) {
  pb::RangeResponse r;
  r.mutable_header()->set_revision(7);
  auto* kv = r.add_kvs();
  kv->set_key("foo");
  kv->set_value(std::string(100'000, 'x'));
  r.add_kvs()->set_key("a");
  r.set_count(2);
  const std::string whole = write(r);
  EXPECT_TRUE(whole.starts_with(R"({"header":{"revision":"7"},"kvs":[{"key":"Zm9v","value":"eHh4)"));
  EXPECT_TRUE(whole.ends_with(R"(eA=="},{"key":"YQ=="}],"count":"2"})")) << whole.substr(whole.size() - 60);
  for (const size_t cut : {1, 2, 100}) EXPECT_EQ(write(r, cut, cut), whole);
  EXPECT_EQ(write(pb::RangeResponse()), "{}");

  pb::TxnResponse t;
  t.mutable_header();
  t.add_responses()->mutable_response_put();
  EXPECT_EQ(write(t), R"({"header":{},"responses":[{"response_put":{}}]})");
  pb::AlarmResponse alarm;
  alarm.add_alarms()->set_alarm(pb::NOSPACE);
  alarm.mutable_alarms(0)->set_memberid(UINT64_MAX);
  EXPECT_EQ(write(alarm), R"({"alarms":[{"memberID":"18446744073709551615","alarm":"NOSPACE"}]})");
  pb::HashKVResponse hash;
  hash.set_hash(4'000'000'000);
  hash.set_compact_revision(-1);
  EXPECT_EQ(write(hash), R"({"hash":4000000000,"compact_revision":"-1"})");
  pb::AuthUserListResponse users;
  users.add_users("a\"\\\n\x01é\x7f");
  EXPECT_EQ(write(users), "{\"users\":[\"a\\\"\\\\\\n\\u0001é\x7f\"]}");
}

TEST(GatewayJson, LinesOfAStreamAreEscapedForHtml) {
  pb::AuthUserListResponse users;
  users.add_users("<&>\xe2\x80\xa8");
  std::string out;
  JsonWriter writer(schema_of(*users.descriptor()), {Blob::copy(users.SerializeAsString())}, Escapes::kHtml);
  EXPECT_TRUE(*writer.step(1000, out));
  EXPECT_EQ(out, R"({"users":["\u003c\u0026\u003e\u2028"]})");
}

TEST(GatewayJson, TextThatIsNoUtf8) {
  std::string out;
  JsonWriter writer(schema_of(*pb::AuthRoleListResponse::descriptor()), {Blob::copy("\x12\x01\xff")});
  const auto done = writer.step(100, out);
  ASSERT_FALSE(done);
  EXPECT_EQ(done.error().text(),
            "proto: field etcdserverpb.AuthRoleListResponse.roles contains invalid UTF-8");
}

}  // namespace
}  // namespace quoin::httpapi::gateway
