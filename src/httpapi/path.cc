#include "httpapi/path.h"

#include <fmt/format.h>

#include <algorithm>
#include <vector>

#include "http1/html.h"

namespace quoin::httpapi {
namespace {

bool is_alphanumeric(char c) {
  return (c >= '0' && c <= '9') || (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z');
}

bool is_one_of(char c, std::string_view marks) {
  return marks.find(c) != std::string_view::npos;
}

int hex_value(char c) {
  return c <= '9' ? c - '0' : (c | 0x20) - 'a' + 10;
}

std::string decode(std::string_view path, bool slashes) {
  std::string out;
  for (size_t i = 0; i < path.size(); ++i) {
    if (path[i] != '%' || i + 2 >= path.size()) {
      out += path[i];
      continue;
    }
    const char c = static_cast<char>(hex_value(path[i + 1]) * 16 + hex_value(path[i + 2]));
    if (c == '/' && !slashes) {
      out.append(path.substr(i, 3));
    } else {
      out += c;
    }
    i += 2;
  }
  return out;
}

// As Go writes a path it was not given in an encoding of its own.
std::string encode(std::string_view path) {
  std::string out;
  for (const char c : path) {
    if (is_alphanumeric(c) || is_one_of(c, "-_.~$&+,/:;=@")) {
      out += c;
    } else {
      out += fmt::format("%{:02X}", static_cast<unsigned char>(c));
    }
  }
  return out;
}

// The path in an encoding that Go would send: as it came, if it came in one.
std::string encoded(std::string_view path) {
  const bool valid = std::all_of(path.begin(), path.end(), [](char c) {
    return is_alphanumeric(c) || is_one_of(c, "-_.~$&+,/:;=@!'()*[]%");
  });
  return valid ? std::string(path) : encode(decode(path, true));
}

// Without empty, "." and ".." parts; a slash at the end stays.
std::string clean(std::string_view path) {
  if (path.empty()) return "/";
  std::vector<std::string_view> parts;
  const bool folder = path.ends_with('/');
  while (!path.empty()) {
    const size_t slash = std::min(path.find('/'), path.size());
    const std::string_view part = path.substr(0, slash);
    path.remove_prefix(std::min(slash + 1, path.size()));
    if (part.empty() || part == ".") continue;
    if (part != "..") {
      parts.push_back(part);
    } else if (!parts.empty()) {
      parts.pop_back();
    }
  }
  std::string out;
  for (const std::string_view part : parts) out.append("/").append(part);
  if (folder || out.empty()) out += '/';
  return out;
}

}  // namespace

std::optional<std::string> clean_location(std::string_view path, std::string_view query) {
  const std::string as_sent = encoded(path);
  const std::string cleaned = clean(as_sent);
  if (cleaned == as_sent) return std::nullopt;
  // Go takes the clean path for one that is not encoded yet.
  std::string location = encode(cleaned);
  if (!query.empty()) location.append("?").append(query);
  std::string out;
  for (const char c : location) {
    if (static_cast<unsigned char>(c) >= 0x80) {
      out += fmt::format("%{:02x}", static_cast<unsigned char>(c));
    } else {
      out += c;
    }
  }
  return out;
}

Response redirect(const Request& request, const std::string& location) {
  Response r{307, {}, ""};
  if (request.method == "GET" || request.method == "HEAD") {
    r.headers.emplace_back("Content-Type", "text/html; charset=utf-8");
    r.body = fmt::format("<a href=\"{}\">Temporary Redirect</a>.\n\n", http1::html_escaped(location));
  }
  r.headers.emplace_back("Location", location);
  return r;
}

std::string decoded_path(std::string_view path) {
  return decode(path, false);
}

std::string fully_decoded_path(std::string_view path) {
  return decode(path, true);
}

}  // namespace quoin::httpapi
