#include "cmd/text/go_json.h"

#include <charconv>
#include <cmath>

#include "base/go_text.h"

namespace quoin::cmd {

namespace {

// The shortest digits that give the number back; with an exponent below 1e-6 and from 1e21.
std::string float_text(double number) {
  char buffer[400];
  const double size = std::fabs(number);
  const bool exponent = size != 0 && (size < 1e-6 || size >= 1e21);
  const auto end = std::to_chars(buffer, buffer + sizeof buffer, number,
                                 exponent ? std::chars_format::scientific : std::chars_format::fixed);
  std::string text(buffer, end.ptr);
  // e-07 is written e-7; e+21 stays.
  const size_t n = text.size();
  if (exponent && n >= 4 && text[n - 4] == 'e' && text[n - 3] == '-' && text[n - 2] == '0')
    text.erase(n - 2, 1);
  return text;
}

}  // namespace

// A comma stands before whatever does not come first: behind an opening bracket or the colon of a key nothing is missing.
void GoJson::separate() {
  if (!out_.empty() && out_.back() != '{' && out_.back() != '[' && out_.back() != ':') out_ += ',';
}

GoJson& GoJson::open(char c) {
  separate();
  out_ += c;
  return *this;
}

GoJson& GoJson::close(char c) {
  out_ += c;
  return *this;
}

GoJson& GoJson::key(std::string_view name) {
  separate();
  out_ += go_json_string(name);
  out_ += ':';
  return *this;
}

GoJson& GoJson::value(std::string_view text) {
  return raw(go_json_string(text));
}

GoJson& GoJson::value(Bytes bytes) {
  if (bytes.bytes.data() == nullptr) return null();
  return raw("\"" + base64(bytes.bytes) + "\"");
}

GoJson& GoJson::value(double number) {
  return raw(float_text(number));
}

GoJson& GoJson::raw(std::string_view json) {
  separate();
  out_ += json;
  return *this;
}

std::string base64(std::string_view bytes) {
  static constexpr char kDigits[] = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";
  std::string out;
  out.reserve((bytes.size() + 2) / 3 * 4);
  for (size_t i = 0; i < bytes.size(); i += 3) {
    uint32_t group = 0;
    for (size_t j = 0; j < 3; ++j)
      group = group << 8 | (i + j < bytes.size() ? static_cast<unsigned char>(bytes[i + j]) : 0u);
    for (size_t j = 0; j < 4; ++j) out += i + j <= bytes.size() ? kDigits[group >> (18 - 6 * j) & 63] : '=';
  }
  return out;
}

}  // namespace quoin::cmd
