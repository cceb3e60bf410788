#include "httpapi/gateway/schema.h"

#include <google/protobuf/descriptor.h>

#include <map>
#include <memory>
#include <mutex>

#include "base/check.h"

namespace quoin::httpapi::gateway {
namespace {
namespace pb = google::protobuf;

Kind kind_of(const pb::FieldDescriptor& f) {
  switch (f.type()) {
    case pb::FieldDescriptor::TYPE_BOOL:
      return Kind::kBool;
    case pb::FieldDescriptor::TYPE_INT32:
      return Kind::kInt32;
    case pb::FieldDescriptor::TYPE_UINT32:
      return Kind::kUint32;
    case pb::FieldDescriptor::TYPE_INT64:
      return Kind::kInt64;
    case pb::FieldDescriptor::TYPE_UINT64:
      return Kind::kUint64;
    case pb::FieldDescriptor::TYPE_STRING:
      return Kind::kString;
    case pb::FieldDescriptor::TYPE_BYTES:
      return Kind::kBytes;
    case pb::FieldDescriptor::TYPE_ENUM:
      return Kind::kEnum;
    case pb::FieldDescriptor::TYPE_MESSAGE:
      CHECK(!f.is_map(), "{}: a map", f.full_name());
      return Kind::kMessage;
    default:
      CHECK(false, "{}: type {} has no JSON here", f.full_name(), f.type_name());
  }
  return Kind::kBool;
}

class Tables {
 public:
  const MessageType& message(const pb::Descriptor& d) {
    auto& made = messages_[&d];
    if (made) return *made;
    // Known before its fields are: messages contain each other.
    made = std::make_unique<MessageType>();
    MessageType& m = *made;
    m.full_name = d.full_name();
    CHECK_LE(static_cast<size_t>(d.field_count()), MessageType::kFieldsMax);
    m.fields.reserve(static_cast<size_t>(d.field_count()));
    for (int i = 0; i < d.field_count(); ++i) {
      const pb::FieldDescriptor& f = *d.field(i);
      CHECK(i == 0 || d.field(i - 1)->number() < f.number(), "{}: not in the order of numbers",
            f.full_name());
      FieldType field;
      field.name = f.name();
      field.json_name = f.json_name();
      field.full_name = f.full_name();
      field.number = static_cast<uint32_t>(f.number());
      field.kind = kind_of(f);
      field.repeated = f.is_repeated();
      if (const pb::OneofDescriptor* oneof = f.containing_oneof()) {
        field.oneof = oneof->index();
        field.oneof_name = oneof->full_name();
      }
      if (field.kind == Kind::kEnum) field.enumeration = &enumeration(*f.enum_type());
      if (field.kind == Kind::kMessage) field.message = &message(*f.message_type());
      field.index = static_cast<size_t>(i);
      m.fields.push_back(field);
    }
    // A name of JSON is looked for first.
    for (const FieldType& f : m.fields) m.names.emplace(f.json_name, &f);
    for (const FieldType& f : m.fields) m.names.emplace(f.name, &f);
    return m;
  }

 private:
  const EnumType& enumeration(const pb::EnumDescriptor& d) {
    auto& made = enums_[&d];
    if (made) return *made;
    made = std::make_unique<EnumType>();
    for (int i = 0; i < d.value_count(); ++i) {
      made->names.emplace(d.value(i)->number(), d.value(i)->name());
      made->numbers.emplace(d.value(i)->name(), d.value(i)->number());
    }
    return *made;
  }

  std::map<const pb::Descriptor*, std::unique_ptr<MessageType>> messages_;
  std::map<const pb::EnumDescriptor*, std::unique_ptr<EnumType>> enums_;
};

}  // namespace

std::string_view kind_name(Kind kind) {
  constexpr std::string_view kNames[] = {"bool",   "int32", "uint32", "int64",  "uint64",
                                         "string", "bytes", "enum",   "message"};
  return kNames[static_cast<size_t>(kind)];
}

const MessageType& schema_of(const pb::Descriptor& descriptor) {
  static std::mutex mutex;
  static Tables tables;
  const std::lock_guard lock(mutex);
  return tables.message(descriptor);
}

}  // namespace quoin::httpapi::gateway
