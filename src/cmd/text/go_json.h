// Writes JSON as Go's encoding/json does: one line, no spaces, 64-bit integers as bare numbers, bytes as base64, <, > and
// & escaped. The caller decides names, order and what is left out, as the tags of Go's structs do.
//
//   GoJson json;
//   json.open_object();
//   json.put("hash", uint64_t{7}).put_some("version", version);   // put_some: left out if zero or empty
//   json.key("kvs").open_array();
//   json.open_object().put("key", GoJson::Bytes{key}).close_object();
//   json.close_array().close_object();
//   json.text()                            // {"hash":7,"kvs":[{"key":"Zm9v"}]}
//
// Threads: none.
#pragma once
#include <concepts>
#include <cstdint>
#include <string>
#include <string_view>
#include <type_traits>

namespace quoin::cmd {

class GoJson {
 public:
  struct Bytes {  // a []byte; null if it is nil, "" if it is empty
    std::string_view bytes;
  };

  GoJson& open_object() { return open('{'); }
  GoJson& close_object() { return close('}'); }
  GoJson& open_array() { return open('['); }
  GoJson& close_array() { return close(']'); }
  GoJson& key(std::string_view name);

  // An element of an array, or what follows key().
  GoJson& value(std::string_view text);
  GoJson& value(const char* text) { return value(std::string_view(text)); }
  GoJson& value(Bytes bytes);
  GoJson& value(bool truth) { return raw(truth ? "true" : "false"); }
  GoJson& value(double number);  // finite
  template <std::integral T>
  requires(!std::same_as<T, bool>) GoJson& value(T number) { return raw(std::to_string(number)); }
  GoJson& null() { return raw("null"); }
  // JSON as it is.
  GoJson& raw(std::string_view json);

  template <class T>
  GoJson& put(std::string_view name, const T& v) {
    return key(name).value(v);
  }
  // As `omitempty`.
  template <class T>
  GoJson& put_some(std::string_view name, const T& v) {
    if constexpr (std::is_same_v<T, Bytes>)
      return v.bytes.empty() ? *this : put(name, v);
    else if constexpr (std::is_arithmetic_v<T>)
      return v == T{} ? *this : put(name, v);
    else
      return std::string_view(v).empty() ? *this : put(name, v);
  }

  const std::string& text() const { return out_; }
  std::string take() { return std::move(out_); }

 private:
  GoJson& open(char c);
  GoJson& close(char c);
  void separate();

  std::string out_;
};

// Standard base64 with padding.
std::string base64(std::string_view bytes);

}  // namespace quoin::cmd
