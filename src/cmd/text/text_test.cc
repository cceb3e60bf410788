#include <gtest/gtest.h>

#include <cmath>
#include <fstream>
#include <limits>

#include "cmd/text/display_width.h"
#include "cmd/text/go_json.h"
#include "cmd/text/size.h"
#include "cmd/text/table.h"

namespace quoin::cmd {
namespace {

std::string from_hex(std::string_view digits) {
  std::string out;
  for (size_t i = 0; i + 1 < digits.size(); i += 2)
    out += static_cast<char>(std::stoi(std::string(digits.substr(i, 2)), nullptr, 16));
  return out;
}

std::ifstream open_testdata(const std::string& name) {
  std::ifstream in(std::string(QUOIN_SOURCE_DIR "/src/cmd/text/testdata/") + name);
  EXPECT_TRUE(in.is_open()) << name;
  return in;
}

// Each line: a text in hexadecimal digits, the width that tablewriter 0.0.5 gives it.
TEST(DisplayWidth, EqualsTheReal) {
  std::ifstream in = open_testdata("widths.txt");
  std::string digits;
  size_t width = 0, n = 0;
  for (; in >> digits >> width; ++n) EXPECT_EQ(display_width(from_hex(digits)), width) << digits;
  EXPECT_GT(n, 200u);
}

TEST(DisplayWidth, ColourSequences) {
  EXPECT_EQ(display_width("\x1b[1;31mred\x1b[m"), 3u);
  EXPECT_EQ(display_width("\x1b[1234mx"), 7u);
  EXPECT_EQ(display_width("\x1b[1"), 2u);
  EXPECT_EQ(display_width("\x1b["), 1u);
}

// Each table: "T columns rows", its cells and what tablewriter 0.0.5 printed, in hexadecimal digits before a point.
TEST(Table, EqualsTheReal) {
  std::ifstream in = open_testdata("tables.txt");
  const auto next = [&in] {
    std::string line;
    EXPECT_TRUE(std::getline(in, line)) << "cut short";
    EXPECT_TRUE(line.ends_with('.')) << line;
    return from_hex(line.substr(0, line.size() - 1));
  };
  size_t n = 0;
  for (std::string head; std::getline(in, head); ++n) {
    size_t columns = 0, rows = 0;
    ASSERT_EQ(sscanf(head.c_str(), "T %zu %zu", &columns, &rows), 2) << head;
    const auto row = [&] {
      std::vector<std::string> cells;
      for (size_t i = 0; i < columns; ++i) cells.push_back(next());
      return cells;
    };
    Table table(row());
    for (size_t i = 0; i < rows; ++i) table.add(row());
    EXPECT_EQ(table.text(), next());
  }
  EXPECT_EQ(n, 60u);
}

// Printed by etcdctl: `endpoint status` under an alarm.
TEST(Table, LongCellTakesTwoLines) {
  Table table({"Endpoint", "DB size", "Errors"});
  table.add({"http://127.0.0.1:23790", "123 kB", "memberID:3319814642761637952 alarm:NOSPACE "});
  EXPECT_EQ(table.text(),
            "+------------------------+---------+--------------------------------+\n"
            "|        ENDPOINT        | DB SIZE |             ERRORS             |\n"
            "+------------------------+---------+--------------------------------+\n"
            "| http://127.0.0.1:23790 |  123 kB |   memberID:3319814642761637952 |\n"
            "|                        |         |                 alarm:NOSPACE  |\n"
            "+------------------------+---------+--------------------------------+\n");
}

TEST(Table, WithoutRows) {
  EXPECT_EQ(Table({"hash_revision"}).text(),
            "+---------------+\n| HASH REVISION |\n+---------------+\n+---------------+\n");
}

TEST(Size, EqualsTheReal) {
  const std::pair<uint64_t, const char*> cases[] = {
      {0, "0 B"},
      {9, "9 B"},
      {10, "10 B"},
      {999, "999 B"},
      {1000, "1.0 kB"},
      {9949, "9.9 kB"},
      {9950, "10 kB"},
      {16384, "16 kB"},
      {20480, "20 kB"},
      {24576, "25 kB"},
      {999949, "1000 kB"},
      {999999, "1000 kB"},
      {1000000, "1.0 MB"},
      {2147483648, "2.1 GB"},
      {999999999, "1000 MB"},
      {1000000000, "1.0 GB"},
      {1000000000000, "1.0 TB"},
      {1000000000000000, "1.0 PB"},
      {1000000000000000000, "1.0 EB"},
      {std::numeric_limits<uint64_t>::max(), "18 EB"},
  };
  for (const auto& [bytes, text] : cases) EXPECT_EQ(si_size(bytes), text) << bytes;
}

TEST(GoJson, ObjectsAndArrays) {
  GoJson json;
  json.open_object().key("header").open_object().put_some("cluster_id", uint64_t{14841639068965178418u});
  json.put_some("raft_term", uint64_t{0}).close_object();
  json.key("kvs").open_array();
  json.open_object().put("key", GoJson::Bytes{"a"}).put_some("lease", int64_t{-3}).close_object();
  json.open_object().close_object();
  json.close_array();
  json.put("more", false)
      .put_some("version", std::string())
      .put_some("name", "x")
      .put("none", GoJson::Bytes{});
  json.put("empty", GoJson::Bytes{""})
      .key("n")
      .open_array()
      .value(1)
      .value(2)
      .null()
      .close_array()
      .close_object();
  EXPECT_EQ(
      json.text(),
      R"({"header":{"cluster_id":14841639068965178418},"kvs":[{"key":"YQ==","lease":-3},{}],"more":false,)"
      R"("name":"x","none":null,"empty":"","n":[1,2,null]})");
}

TEST(GoJson, EscapesAsGo) {
  GoJson json;
  json.value(std::string_view("\x00\x01\b\f\n\r\t\x7f<>&\xe2\x80\xa8\xff\xc3\xa9\"\\", 19));
  EXPECT_EQ(json.text(),
            "\"\\u0000\\u0001\\b\\f\\n\\r\\t\x7f\\u003c\\u003e\\u0026\\u2028\\ufffd\xc3\xa9\\\"\\\\\"");
}

TEST(GoJson, Floats) {
  const std::pair<double, const char*> cases[] = {
      {0.0, "0"},
      {-0.0, "-0"},
      {-1.0, "-1"},
      {0.1, "0.1"},
      {100.0, "100"},
      {1e20, "100000000000000000000"},
      {1e21, "1e+21"},
      {1.5e-6, "0.0000015"},
      {1.5e-7, "1.5e-7"},
      {1e-10, "1e-10"},
      {5e-324, "5e-324"},
      {1.7976931348623157e308, "1.7976931348623157e+308"},
      {123456789.125, "123456789.125"},
      {2.5e22, "2.5e+22"},
  };
  for (const auto& [number, text] : cases) EXPECT_EQ(GoJson().value(number).text(), text);
}

TEST(Base64, Padding) {
  EXPECT_EQ(base64(""), "");
  EXPECT_EQ(base64("f"), "Zg==");
  EXPECT_EQ(base64("fo"), "Zm8=");
  EXPECT_EQ(base64("foo"), "Zm9v");
  EXPECT_EQ(base64(std::string("\0\xff\xfe\xfd", 4)), "AP/+/Q==");
}

}  // namespace
}  // namespace quoin::cmd
