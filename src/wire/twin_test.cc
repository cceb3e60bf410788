// libprotobuf as the slow twin: every message, filled at random through reflection, comes out of our codec as
// the bytes libprotobuf wrote.
#include <google/protobuf/unknown_field_set.h>
#include <gtest/gtest.h>

#include <limits>

#include "base/coding.h"
#include "base/prng.h"
#include "wire/pb_twin_test.h"
#include "wire/registry.h"

namespace quoin::wire {
namespace {

using gpb::FieldDescriptor;

constexpr int kDepthMax = 3;

uint64_t number(Prng* prng) {
  switch (prng->below(6)) {
    case 0:
      return 0;
    case 1:
      return prng->below(3);
    case 2:
      return prng->below(100'000);
    case 3:
      return prng->next();
    case 4:
      return std::numeric_limits<uint64_t>::max();
    default:
      return uint64_t{1} << prng->below(64);
  }
}

std::string text(Prng* prng) {
  std::string s(prng->chance(1, 8) ? prng->below(20'000) : prng->below(6), '\0');
  for (char& c : s) c = static_cast<char>(prng->between(1, 127));
  return s;
}

void fill(gpb::Message* m, Prng* prng, int depth);

void set_or_add(gpb::Message* m, const FieldDescriptor* f, Prng* prng, int depth) {
  const auto* r = m->GetReflection();
  const bool list = f->is_repeated();
  switch (f->cpp_type()) {
    case FieldDescriptor::CPPTYPE_INT64: {
      const auto v = static_cast<int64_t>(number(prng));
      return list ? r->AddInt64(m, f, v) : r->SetInt64(m, f, v);
    }
    case FieldDescriptor::CPPTYPE_UINT64: {
      const uint64_t v = number(prng);
      return list ? r->AddUInt64(m, f, v) : r->SetUInt64(m, f, v);
    }
    case FieldDescriptor::CPPTYPE_UINT32: {
      const auto v = static_cast<uint32_t>(number(prng));
      return list ? r->AddUInt32(m, f, v) : r->SetUInt32(m, f, v);
    }
    case FieldDescriptor::CPPTYPE_BOOL:
      return r->SetBool(m, f, prng->chance(1, 2));
    case FieldDescriptor::CPPTYPE_ENUM: {
      // proto2 enums are closed in libprotobuf; proto3 ones take any number.
      const auto* e = f->enum_type();
      const bool known = f->file()->syntax() == gpb::FileDescriptor::SYNTAX_PROTO2 || prng->chance(3, 4);
      const int v =
          known ? e->value(static_cast<int>(prng->below(static_cast<uint64_t>(e->value_count()))))->number()
                : static_cast<int>(number(prng));
      return list ? r->AddEnumValue(m, f, v) : r->SetEnumValue(m, f, v);
    }
    case FieldDescriptor::CPPTYPE_STRING: {
      const std::string v = text(prng);
      return list ? r->AddString(m, f, v) : r->SetString(m, f, v);
    }
    case FieldDescriptor::CPPTYPE_MESSAGE:
      return fill(list ? r->AddMessage(m, f) : r->MutableMessage(m, f), prng, depth + 1);
    default:
      FAIL() << f->full_name() << " has a type this test does not fill";
  }
}

void add_unknown(gpb::Message* m, Prng* prng) {
  auto* unknown = m->GetReflection()->MutableUnknownFields(m);
  for (uint64_t n = prng->below(3); n > 0; --n) {
    const int field = static_cast<int>(prng->between(20'000, 30'000));
    switch (prng->below(5)) {
      case 0:
        unknown->AddVarint(field, number(prng));
        break;
      case 1:
        unknown->AddFixed64(field, number(prng));
        break;
      case 2:
        unknown->AddFixed32(field, static_cast<uint32_t>(number(prng)));
        break;
      case 3:
        unknown->AddLengthDelimited(field, text(prng));
        break;
      case 4:
        unknown->AddGroup(field)->AddVarint(1, number(prng));
        break;
    }
  }
}

// Gives fields values at random, zeros included. What Go always writes is always set, so that both sides
// agree on presence.
void fill(gpb::Message* m, Prng* prng, int depth) {
  const auto* d = m->GetDescriptor();
  for (int i = 0; i < d->field_count(); ++i) {
    const auto* f = d->field(i);
    const bool always = f->options().GetExtension(quoin::pb::always);
    if (always && !f->has_presence()) {
      m->GetReflection()->SetString(m, f, "k" + text(prng));  // libprotobuf would leave the empty one out
      continue;
    }
    if (!always && (prng->chance(1, 3) || (f->message_type() != nullptr && depth >= kDepthMax))) continue;
    for (uint64_t n = f->is_repeated() ? prng->below(4) : 1; n > 0; --n) set_or_add(m, f, prng, depth);
  }
  if (!d->file()->options().GetExtension(quoin::pb::drop_unknown) && prng->chance(1, 4)) add_unknown(m, prng);
}

TEST(Twin, RegistryHoldsEveryMessage) {
  std::set<std::string> expected, found;
  for (const auto* file : pb_files()) {
    for (int i = 0; i < file->message_type_count(); ++i) expected.insert(file->message_type(i)->full_name());
  }
  for (const auto& info : messages()) found.insert(std::string(info.full_name));
  EXPECT_EQ(found, expected);
  EXPECT_EQ(found.size(), messages().size());
}

TEST(Twin, RandomMessagesKeepTheirBytes) {
  size_t bytes = 0;
  for (const auto& info : messages()) {
    for (uint64_t seed = 1; seed <= 60; ++seed) {
      Prng prng(seed);
      const auto m = new_pb_message(info.full_name);
      fill(m.get(), &prng, 0);
      const std::string in = serialized(*m);
      const auto out = info.recode(in);
      ASSERT_TRUE(out) << info.full_name << " seed " << seed << ": " << out.error().text();
      ASSERT_EQ(hex_bytes(*out), hex_bytes(in)) << info.full_name << " seed " << seed << "\n"
                                                << m->DebugString();
      bytes += in.size();
    }
  }
  EXPECT_GT(bytes, size_t{1'000'000});
}

// What ours writes for the same values, libprotobuf reads as the same message: for the messages Go writes
// with zeros that libprotobuf leaves out.
TEST(Twin, AbsentFieldsComeBackAsWrittenZeros) {
  for (const auto& info : messages()) {
    const auto out = info.recode("");
    ASSERT_TRUE(out) << info.full_name;
    const auto m = new_pb_message(info.full_name);
    ASSERT_TRUE(m->ParsePartialFromString(*out)) << info.full_name;
    const auto* d = m->GetDescriptor();
    for (int i = 0; i < d->field_count(); ++i) {
      const auto* f = d->field(i);
      if (!f->has_presence()) continue;
      EXPECT_EQ(m->GetReflection()->HasField(*m, f), f->options().GetExtension(quoin::pb::always))
          << f->full_name();
    }
  }
}

// Every cut of an encoding either still decodes or is an unexpected end; none is read past.
TEST(Twin, TruncationIsAnUnexpectedEnd) {
  for (const auto& info : messages()) {
    Prng prng(7);
    const auto m = new_pb_message(info.full_name);
    fill(m.get(), &prng, 1);
    const std::string in = serialized(*m).substr(0, 400);
    for (size_t n = 0; n < in.size(); ++n) {
      const std::string cut = in.substr(0, n);  // of its own, so that a sanitizer sees its end
      if (const auto out = info.recode(cut); !out) {
        EXPECT_EQ(out.error().text(), "unexpected EOF") << info.full_name;
      }
    }
  }
}

}  // namespace
}  // namespace quoin::wire
