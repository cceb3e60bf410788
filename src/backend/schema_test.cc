#include "backend/schema.h"

#include <gtest/gtest.h>

#include "backend/member_test.h"
#include "base/coding.h"

namespace quoin::backend {
namespace {

TEST(SchemaTest, VersionsAreReadAsSemver) {
  struct {
    const char* text;
    int64_t minor;  // -1: refused
  } const rows[] = {
      {"3.6.0", 6},   {"3.5.33", 5},  {"3.6.0-alpha.0", 6}, {"3.7.0+git", 7},
      {"3.6", -1},    {"v3.6.0", -1}, {"3.06.0", -1},       {"3.6.0.", -1},
      {"", -1},       {"3.6.x", -1},  {"3.6.0-", -1},       {"-3.6.0", -1},
      {"3.-6.0", -1}, {" 3.6.0", -1}, {"3.6.0-a b", -1},    {"99999999999999999999.0.0", -1},
  };
  for (const auto& row : rows) {
    const auto v = parse_schema_version(row.text);
    EXPECT_EQ(v ? v->minor : -1, row.minor) << row.text;
  }
}

TEST(SchemaTest, DetectionGoesByTheMarkThenByTheTerm) {
  struct {
    std::optional<std::string_view> mark, term;
    std::string want;
  } const rows[] = {
      {"3.6.0", std::nullopt, "3.6.0"},
      {"3.7.0", std::string_view("\0\0\0\0\0\0\0\1", 8), "3.7.0"},
      {std::nullopt, std::string_view("\0\0\0\0\0\0\0\1", 8), "3.5.0"},
      {"junk", std::string_view("\0\0\0\0\0\0\0\1", 8), "3.5.0"},
      {std::nullopt, std::string_view("\0\0\0\0\0\0\0\0", 8), "missing term information"},
      {std::nullopt, std::nullopt, "missing term information"},
  };
  for (const auto& row : rows) {
    const auto v = detect_schema_version(row.mark, row.term);
    EXPECT_EQ(v ? v->text() : std::string(v.error().text()), row.want);
  }
}

TEST(SchemaTest, StepsUpAndDownBetweenThreeFiveAndThreeSix) {
  Member m(Kind::kMemory, 1);
  m.open();
  Backend& b = *m.backend;
  EXPECT_EQ(migrate_schema(b, kSchema36).error().text(),
            "cannot detect storage schema version: missing term information");
  EXPECT_EQ(*validate_schema(b, kSchema36), std::nullopt);
  m.on_apply([&] { b.set_consistent_index(Index(1), Term(1)); });
  m.commit();
  m.on_apply([&] {
    EXPECT_EQ(**validate_schema(b, kSchema36), kSchema35);
    EXPECT_TRUE(migrate_schema(b, kSchema36));
    EXPECT_EQ(b.get(Bucket::kMeta, "storageVersion"), "3.6.0");
    EXPECT_EQ(*detect_schema_version(b), kSchema36);
    EXPECT_TRUE(migrate_schema(b, kSchema36));
    EXPECT_TRUE(migrate_schema(b, kSchema35));
    EXPECT_EQ(b.get(Bucket::kMeta, "storageVersion"), std::nullopt);
    EXPECT_FALSE(migrate_schema(b, {3, 7}));
    EXPECT_FALSE(migrate_schema(b, {4, 0}));
    force_schema(b, {3, 7});
    EXPECT_EQ(validate_schema(b, kSchema36).error().text(),
              "cannot create migration plan: version \"3.7.0\" is not supported");
  });
}

}  // namespace
}  // namespace quoin::backend
