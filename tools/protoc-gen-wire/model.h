// What the generator decides about a field before it writes a line: how the field is held, when it is
// written.
#pragma once
#include <google/protobuf/descriptor.h>

#include <string>
#include <vector>

namespace quoin::genwire {

// How a field's value is coded.
enum class Coding { kInteger, kBool, kBytes, kMessage, kRawMessage };

// How often, and how its absence shows.
enum class Presence {
  kImplicit,  // plain member, left out when zero (proto3 scalars)
  kAlways,    // plain member, always written
  kOptional,  // std::optional or Box
  kRepeated,  // a vector, one tag an element
  kPacked,    // a vector, one tag for all
  kOneof,     // an alternative of a variant
};

struct Field {
  const google::protobuf::FieldDescriptor* descriptor;
  std::string name;     // member, or alternative's accessor
  std::string go_name;  // in error texts
  Coding coding;
  Presence presence;
  bool boxed;           // behind a Box
  std::string element;  // C++ type of one value, boxes and vectors not included
  std::string type;     // C++ type of the member or alternative
  int alternative = 0;  // index in the variant, from 1
  bool signed_or_enum;  // widened with its sign
};

struct Message {
  const google::protobuf::Descriptor* descriptor;
  std::string name;
  bool keep_unknown;
  std::vector<Field> fields;  // as declared
  std::vector<const Field*> ascending() const;
  // The fields of a oneof, in the order of its variant.
  std::vector<const Field*> members(const google::protobuf::OneofDescriptor& oneof) const;
};

// Fills `*out`; false and a reason if the message uses something the generator has no form for.
bool build_message(const google::protobuf::Descriptor& descriptor, Message* out, std::string* error);

// The messages of a file in an order in which each comes after those it holds by value; messages that only
// appear behind a pointer may come later. False and a reason if there is no such order.
bool declaration_order(std::vector<Message>* messages, std::string* error);

}  // namespace quoin::genwire
