#include "cmd/etcdctl/message_json.h"

#include <google/protobuf/descriptor.h>
#include <google/protobuf/message.h>

#include <cctype>

namespace quoin::ctl {
namespace {

using cmd::GoJson;
using google::protobuf::FieldDescriptor;
using google::protobuf::Message;
using google::protobuf::Reflection;

// One element of a list, zero or not.
void put_element(GoJson& json, const Message& m, const FieldDescriptor& f, int i) {
  const Reflection& r = *m.GetReflection();
  std::string scratch;
  switch (f.cpp_type()) {
    case FieldDescriptor::CPPTYPE_STRING: {
      const std::string& v = r.GetRepeatedStringReference(m, &f, i, &scratch);
      if (f.type() == FieldDescriptor::TYPE_BYTES) {
        json.value(GoJson::Bytes{v});
      } else {
        json.value(std::string_view(v));
      }
      return;
    }
    case FieldDescriptor::CPPTYPE_MESSAGE:
      return put_message(json, r.GetRepeatedMessage(m, &f, i));
    case FieldDescriptor::CPPTYPE_INT64:
      json.value(r.GetRepeatedInt64(m, &f, i));
      return;
    case FieldDescriptor::CPPTYPE_UINT64:
      json.value(r.GetRepeatedUInt64(m, &f, i));
      return;
    case FieldDescriptor::CPPTYPE_ENUM:
      json.value(r.GetRepeatedEnumValue(m, &f, i));
      return;
    default:
      json.null();  // no message of etcd has a list of these
  }
}

void put_single(GoJson& json, const Message& m, const FieldDescriptor& f) {
  const Reflection& r = *m.GetReflection();
  std::string scratch;
  const std::string& name = f.name();
  switch (f.cpp_type()) {
    case FieldDescriptor::CPPTYPE_INT32:
      json.put_some(name, r.GetInt32(m, &f));
      return;
    case FieldDescriptor::CPPTYPE_INT64:
      json.put_some(name, r.GetInt64(m, &f));
      return;
    case FieldDescriptor::CPPTYPE_UINT32:
      json.put_some(name, r.GetUInt32(m, &f));
      return;
    case FieldDescriptor::CPPTYPE_UINT64:
      json.put_some(name, r.GetUInt64(m, &f));
      return;
    case FieldDescriptor::CPPTYPE_ENUM:
      json.put_some(name, r.GetEnumValue(m, &f));
      return;
    case FieldDescriptor::CPPTYPE_BOOL:
      json.put_some(name, r.GetBool(m, &f));
      return;
    case FieldDescriptor::CPPTYPE_STRING: {
      const std::string& v = r.GetStringReference(m, &f, &scratch);
      if (f.type() == FieldDescriptor::TYPE_BYTES) {
        json.put_some(name, GoJson::Bytes{v});
      } else {
        json.put_some(name, std::string_view(v));
      }
      return;
    }
    case FieldDescriptor::CPPTYPE_MESSAGE:
      if (r.HasField(m, &f)) put_message(json.key(name), r.GetMessage(m, &f));
      return;
    case FieldDescriptor::CPPTYPE_DOUBLE:
    case FieldDescriptor::CPPTYPE_FLOAT:
      return;  // no message of etcd has one
  }
}

// Go's code holds a choice in a field of its own, whose name has no tag: "Response":{"response_put":{...}}.
void put_choice(GoJson& json, const Message& m, const FieldDescriptor& f) {
  if (!m.GetReflection()->HasField(m, &f)) return;
  std::string name = f.real_containing_oneof()->name();
  name[0] = static_cast<char>(std::toupper(static_cast<unsigned char>(name[0])));
  json.key(name).open_object();
  put_single(json, m, f);
  json.close_object();
}

}  // namespace

void put_fields(GoJson& json, const Message& message) {
  const auto* d = message.GetDescriptor();
  for (int i = 0; i < d->field_count(); ++i) {
    const FieldDescriptor& f = *d->field(i);
    if (f.is_repeated()) {
      const int count = message.GetReflection()->FieldSize(message, &f);
      if (count == 0) continue;
      json.key(f.name()).open_array();
      for (int k = 0; k < count; ++k) put_element(json, message, f, k);
      json.close_array();
    } else if (f.real_containing_oneof() != nullptr) {
      put_choice(json, message, f);
    } else {
      put_single(json, message, f);
    }
  }
}

void put_message(GoJson& json, const Message& message) {
  json.open_object();
  put_fields(json, message);
  json.close_object();
}

std::string json_of(const Message& message) {
  GoJson json;
  put_message(json, message);
  return json.take();
}

}  // namespace quoin::ctl
