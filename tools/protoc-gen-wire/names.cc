#include "names.h"

#include <algorithm>
#include <cctype>

namespace quoin::genwire {
namespace {
bool lower(char c) {
  return std::islower(static_cast<unsigned char>(c));
}
bool upper(char c) {
  return std::isupper(static_cast<unsigned char>(c));
}
char to_lower(char c) {
  return static_cast<char>(std::tolower(static_cast<unsigned char>(c)));
}
char to_upper(char c) {
  return static_cast<char>(std::toupper(static_cast<unsigned char>(c)));
}

std::string capitalised(std::string_view words) {
  std::string out;
  bool start = true;
  for (char c : words) {
    if (c == '_') {
      start = true;
      continue;
    }
    out += start ? to_upper(c) : to_lower(c);
    start = false;
  }
  return out;
}
}  // namespace

std::string snake(std::string_view name) {
  std::string out;
  for (size_t i = 0; i < name.size(); ++i) {
    const char c = name[i];
    // A word begins at a capital after a small letter, and at the last capital of a run before a small one
    // unless that one is a plural's s ("URLs").
    const bool after_small = i > 0 && lower(name[i - 1]);
    const bool before_word =
        i > 0 && upper(name[i - 1]) && i + 1 < name.size() && lower(name[i + 1]) && name.substr(i + 1) != "s";
    if (upper(c) && (after_small || before_word)) out += '_';
    out += to_lower(c);
  }
  return out;
}

std::string go_camel(std::string_view name) {
  std::string out;
  for (size_t i = 0; i < name.size(); ++i) {
    if (i > 0 && name[i] == '_' && i + 1 < name.size() && lower(name[i + 1])) {
      out += to_upper(name[++i]);
    } else {
      out += i == 0 ? to_upper(name[i]) : name[i];
    }
  }
  return out;
}

std::string enumerator(std::string_view name) {
  const bool mixed = std::any_of(name.begin(), name.end(), lower);
  return "k" + (mixed ? std::string(name) : capitalised(name));
}

std::string constant(std::string_view snake_name) {
  return "k" + capitalised(snake_name);
}

std::string local_name(const google::protobuf::Descriptor& m) {
  std::string name = m.name();
  name[0] = to_upper(name[0]);
  return name;
}
std::string local_name(const google::protobuf::EnumDescriptor& e) {
  return (e.containing_type() ? local_name(*e.containing_type()) + "::" : std::string()) + e.name();
}
std::string scoped_name(const google::protobuf::Descriptor& m) {
  return namespace_of(*m.file()) + "::" + local_name(m);
}
std::string scoped_name(const google::protobuf::EnumDescriptor& e) {
  return namespace_of(*e.file()) + "::" + local_name(e);
}

std::string namespace_of(const google::protobuf::FileDescriptor& file) {
  std::string package = file.package();
  if (const size_t version = package.rfind(".v"); version != std::string::npos) package.resize(version);
  return package.substr(package.rfind('.') + 1);
}

std::string stem(const google::protobuf::FileDescriptor& file) {
  return file.name().substr(0, file.name().rfind(".proto"));
}

}  // namespace quoin::genwire
