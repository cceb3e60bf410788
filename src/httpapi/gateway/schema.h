// What the JSON mapping needs to know of messages: libprotobuf's descriptors, flattened once into tables.
//
// Threads: built once by schema_of(), immutable afterwards; any thread. Lifetime: the process.
// The messages of etcd's services have no floats, maps, groups or extensions; a type that has some stops the
// process when its table is built, which a test does for all of them.
#pragma once
#include <cstdint>
#include <string>
#include <string_view>
#include <unordered_map>
#include <vector>

namespace google::protobuf {
class Descriptor;
}

namespace quoin::httpapi::gateway {

enum class Kind : uint8_t { kBool, kInt32, kUint32, kInt64, kUint64, kString, kBytes, kEnum, kMessage };
// As protobuf names it: "int64", "bytes".
std::string_view kind_name(Kind kind);

struct EnumType {
  // Of an alias the first name.
  std::unordered_map<int32_t, std::string_view> names;
  std::unordered_map<std::string_view, int32_t> numbers;
};

struct MessageType;

struct FieldType {
  std::string_view name;       // "range_end", as the .proto has it
  std::string_view json_name;  // "rangeEnd"
  std::string_view full_name;  // "etcdserverpb.RangeRequest.range_end"
  uint32_t number = 0;
  Kind kind = Kind::kBool;
  bool repeated = false;
  int oneof = -1;               // index in its message
  std::string_view oneof_name;  // full
  const EnumType* enumeration = nullptr;
  const MessageType* message = nullptr;
  size_t index = 0;  // place in MessageType::fields
};

struct MessageType {
  static constexpr size_t kFieldsMax = 64;  // a bit each says which were seen

  std::string_view full_name;
  // In the order of the .proto, which is that of the numbers, too: so bytes in the order of numbers, as every
  // encoder writes them, become JSON in the order of Go's.
  std::vector<FieldType> fields;
  // Null: no such field. By either name.
  const FieldType* by_name(std::string_view name) const {
    const auto it = names.find(name);
    return it == names.end() ? nullptr : it->second;
  }
  const FieldType* by_number(uint32_t number) const {
    for (const FieldType& f : fields) {
      if (f.number == number) return &f;
    }
    return nullptr;
  }

  std::unordered_map<std::string_view, const FieldType*> names;
};

const MessageType& schema_of(const google::protobuf::Descriptor& descriptor);

}  // namespace quoin::httpapi::gateway
