#include "base/go_text.h"

#include <gtest/gtest.h>

#include "base/utf8.h"

namespace quoin {
namespace {

TEST(Utf8, TakesWhatGoTakes) {
  struct {
    std::string_view in;
    size_t length;
    uint32_t code;
  } const rows[] = {
      {"a", 1, 'a'},
      {std::string_view("\0", 1), 1, 0},
      {"\x7f", 1, 0x7f},
      {"\xc2\x80", 2, 0x80},
      {"\xdf\xbf"
       "x",
       2, 0x7ff},
      {"\xe0\xa0\x80", 3, 0x800},
      {"\xef\xbf\xbf", 3, 0xffff},
      {"\xf0\x90\x80\x80", 4, 0x10000},
      {"\xf4\x8f\xbf\xbf", 4, 0x10ffff},
      {"\x80", 0, 0},              // begins with a continuation
      {"\xc0\x80", 0, 0},          // overlong
      {"\xc1\xbf", 0, 0},          //
      {"\xe0\x9f\xbf", 0, 0},      //
      {"\xf0\x8f\xbf\xbf", 0, 0},  //
      {"\xed\xa0\x80", 0, 0},      // surrogates
      {"\xed\xbf\xbf", 0, 0},      //
      {"\xf4\x90\x80\x80", 0, 0},  // beyond U+10FFFF
      {"\xf5\x80\x80\x80", 0, 0},  //
      {"\xff", 0, 0},
      {"\xc2", 0, 0},  // cut short
      {"\xe2\x82", 0, 0},
      {"\xf0\x9f\x98", 0, 0},
      {"\xc2"
       "a",
       0, 0},
  };
  for (const auto& row : rows) {
    const Utf8Char c = utf8_front(row.in);
    EXPECT_EQ(c.length, row.length) << go_quote(row.in);
    EXPECT_EQ(c.code, row.code) << go_quote(row.in);
    EXPECT_EQ(valid_utf8(row.in.substr(0, row.length == 0 ? row.in.size() : row.length)), row.length != 0);
  }
  EXPECT_TRUE(valid_utf8(""));
  EXPECT_FALSE(valid_utf8("good \xff"));
}

TEST(GoText, QuotesLikePercentQ) {
  EXPECT_EQ(go_quote("plain"), "\"plain\"");
  EXPECT_EQ(go_quote("a\"b\\c\n\t\v\a\x01\x7f"), R"("a\"b\\c\n\t\v\a\x01\x7f")");
  EXPECT_EQ(go_quote("\xff\xc3\xa4\xe2\x82"), "\"\\xff\xc3\xa4\\xe2\\x82\"");
  EXPECT_EQ(go_quote("\xc2\x85\xed\xa0\x80"), R"("\u0085\xed\xa0\x80")");
  EXPECT_EQ(go_quote("\u00a0\u00ad\u2028\ufeff\ue000"), R"("\u00a0\u00ad\u2028\ufeff\ue000")");
  EXPECT_EQ(go_quote("\u00fc\u20ac\U0001f600"), "\"\u00fc\u20ac\U0001f600\"");
}

TEST(GoText, JsonStringsAreGos) {
  struct {
    std::string in, want;
  } const rows[] = {
      {"", R"("")"},
      {"a\"\\/", R"("a\"\\/")"},
      {"<>&", R"("\u003c\u003e\u0026")"},
      {std::string("\0\x01\x1f\x7f", 4), std::string(R"("\u0000\u0001\u001f)") + "\x7f\""},
      {"\n\r\t\b\f", R"("\n\r\t\b\f")"},
      {"\u00e9\u20ac\U0001f600", "\"\u00e9\u20ac\U0001f600\""},
      {"\u2028\u2029", R"("\u2028\u2029")"},
      {"\xff\xc3", R"("\ufffd\ufffd")"},
      {"\xed\xa0\x80", R"("\ufffd\ufffd\ufffd")"},
      {"\xf4\x90\x80\x80", R"("\ufffd\ufffd\ufffd\ufffd")"},
  };
  for (const auto& row : rows) EXPECT_EQ(go_json_string(row.in), row.want);
}

}  // namespace
}  // namespace quoin
