#include "membership/go_url.h"

#include <gtest/gtest.h>

#include <fstream>

#include "base/go_text.h"
#include "membership/bootstrap.h"

namespace quoin::membership {
namespace {

// One string as strconv.Quote writes it, from the front of `line`.
std::string unquote(std::string_view& line) {
  std::string out;
  size_t i = line.find('"') + 1;
  for (; line[i] != '"'; ++i) {
    if (line[i] != '\\') {
      out += line[i];
      continue;
    }
    const char c = line[++i];
    if (c == 'x' || c == 'u') {
      const size_t digits = c == 'x' ? 2 : 4;
      const unsigned code =
          static_cast<unsigned>(std::stoul(std::string(line.substr(i + 1, digits)), nullptr, 16));
      i += digits;
      if (code < 0x80) {
        out += static_cast<char>(code);
      } else if (code < 0x800) {
        out += static_cast<char>(0xc0 | code >> 6);
        out += static_cast<char>(0x80 | (code & 0x3f));
      } else {
        out += static_cast<char>(0xe0 | code >> 12);
        out += static_cast<char>(0x80 | (code >> 6 & 0x3f));
        out += static_cast<char>(0x80 | (code & 0x3f));
      }
    } else {
      out += c == 'n' ? '\n' : c == 't' ? '\t' : c;
    }
  }
  line.remove_prefix(i + 1);
  return out;
}

TEST(GoUrlTest, SaysWhatGoSays) {
  std::ifstream file(QUOIN_SOURCE_DIR "/src/membership/testdata/urls.txt");
  int rows = 0;
  for (std::string text; std::getline(file, text);) {
    if (text.starts_with('#')) continue;
    std::string_view line = text;
    const std::string in = unquote(line), want = unquote(line);
    const auto r = parse_url(in);
    EXPECT_EQ(r ? *r : std::string(r.error().text()), want) << go_quote(in);
    if (r) {
      EXPECT_EQ(*parse_url(*r), *r);
    }
    ++rows;
  }
  EXPECT_GE(rows, 100);
}

TEST(GoUrlTest, HostAndPort) {
  const auto port_of = [](std::string_view s) {
    const auto r = split_host_port(s);
    return r ? r->first + "|" + r->second : std::string(r.error().text());
  };
  EXPECT_EQ(port_of("a:1"), "a|1");
  EXPECT_EQ(port_of("[::1]:2"), "::1|2");
  EXPECT_EQ(port_of(":3"), "|3");
  EXPECT_EQ(port_of("a"), "address a: missing port in address");
  EXPECT_EQ(port_of(""), "missing port in address");
  EXPECT_EQ(port_of("::1"), "address ::1: too many colons in address");
  EXPECT_EQ(port_of("[::1"), "address [::1: missing ']' in address");
}

TEST(GoUrlTest, AListHasAtLeastOne) {
  EXPECT_EQ(parse_urls({}).error().text(), "no valid URLs given");
  const std::string two[] = {" http://b:1", "http://a:1 "};
  EXPECT_EQ(*parse_urls(two), (std::vector<std::string>{"http://a:1", "http://b:1"}));
}

}  // namespace
}  // namespace quoin::membership
