#include "httpapi/gateway/json_writer.h"

#include <algorithm>

#include "base/utf8.h"

namespace quoin::httpapi::gateway {
namespace {

constexpr size_t kBytesPerPiece = 48 << 10;  // a multiple of 3

void append_integer(uint64_t v, bool is_signed, std::string& out) {
  if (is_signed) {
    fmt::format_to(std::back_inserter(out), "{}", static_cast<int64_t>(v));
  } else {
    fmt::format_to(std::back_inserter(out), "{}", v);
  }
}

}  // namespace

bool append_json_string(std::string_view s, Escapes escapes, std::string& out) {
  const bool html = escapes == Escapes::kHtml;
  out += '"';
  for (size_t i = 0; i < s.size();) {
    const auto c = static_cast<unsigned char>(s[i]);
    if (c >= 0x80) {
      const Utf8Char u = utf8_front(s.substr(i));
      if (u.length == 0) return false;
      if (html && (u.code == 0x2028 || u.code == 0x2029)) {
        out += u.code == 0x2028 ? "\\u2028" : "\\u2029";
      } else {
        out.append(s.substr(i, u.length));
      }
      i += u.length;
      continue;
    }
    ++i;
    const bool plain = c >= 0x20 && c != '"' && c != '\\' && !(html && (c == '<' || c == '>' || c == '&'));
    if (plain) {
      out += static_cast<char>(c);
      continue;
    }
    out += '\\';
    constexpr std::string_view kBytes = "\"\\\b\f\n\r\t", kNames = "\"\\bfnrt";
    const size_t at = kBytes.find(static_cast<char>(c));
    if (at != std::string_view::npos) {
      out += kNames[at];
    } else {
      fmt::format_to(std::back_inserter(out), "u{:04x}", c);
    }
  }
  out += '"';
  return true;
}

JsonWriter::JsonWriter(const MessageType& type, std::deque<Blob> pieces, Escapes escapes)
    : escapes_(escapes), pieces_(std::move(pieces)) {
  for (const Blob& p : pieces_) left_ += p.size();
  levels_.push_back({&type, 0});
}

std::string_view JsonWriter::front(size_t n) const {
  return pieces_.empty() ? std::string_view() : pieces_.front().view().substr(offset_, n);
}

void JsonWriter::skip(size_t n) {
  n = std::min(n, left_);
  left_ -= n;
  while (!pieces_.empty()) {
    const size_t here = pieces_.front().size() - offset_;
    if (n < here) {
      offset_ += n;
      return;
    }
    n -= here;
    pieces_.pop_front();
    offset_ = 0;
  }
}

uint64_t JsonWriter::varint() {
  uint64_t v = 0;
  for (unsigned shift = 0; shift < 64 && left_ > 0; shift += 7) {
    while (front(1).empty()) skip(0);
    const auto byte = static_cast<unsigned char>(front(1)[0]);
    skip(1);
    v |= static_cast<uint64_t>(byte & 0x7f) << shift;
    if (byte < 0x80) break;
  }
  return v;
}

Result<bool> JsonWriter::step(size_t bytes, std::string& out) {
  const size_t until = out.size() + bytes;
  if (!std::exchange(begun_, true)) out += '{';
  while (out.size() < until && !levels_.empty()) {
    if (in_bytes_) {
      const std::string_view piece = front(std::min(bytes_left_, kBytesPerPiece));
      base64_.feed(piece, out);
      bytes_left_ -= piece.size();
      skip(piece.size());
      if (bytes_left_ > 0 && left_ > 0) continue;
      base64_.end(out);
      out += '"';
      in_bytes_ = false;
      continue;
    }
    if (left_ <= levels_.back().end) {
      close(out);
      continue;
    }
    TRY(field(out));
  }
  return levels_.empty();
}

void JsonWriter::close(std::string& out) {
  if (levels_.back().list != nullptr) out += ']';
  out += '}';
  levels_.pop_back();
}

void JsonWriter::name(const FieldType& f, std::string& out) {
  Level& level = levels_.back();
  if (level.list == &f) {
    out += ',';
    return;
  }
  if (level.list != nullptr) out += ']';
  level.list = f.repeated ? &f : nullptr;
  if (!std::exchange(level.first, false)) out += ',';
  out += '"';
  out += f.name;
  out += f.repeated ? "\":[" : "\":";
}

Result<> JsonWriter::field(std::string& out) {
  const uint64_t tag = varint();
  const FieldType* f = levels_.back().type->by_number(static_cast<uint32_t>(tag >> 3));
  const bool length_delimited =
      f != nullptr && (f->kind == Kind::kString || f->kind == Kind::kBytes || f->kind == Kind::kMessage);
  switch (tag & 7) {
    case 0: {
      const uint64_t v = varint();
      if (f == nullptr || length_delimited) return {};
      return value(*f, v, out);
    }
    case 1:
      skip(8);
      return {};
    case 5:
      skip(4);
      return {};
    case 2:
      break;
    default:
      skip(left_);
      return {};
  }
  const size_t length = std::min<uint64_t>(varint(), left_ - std::min(left_, levels_.back().end));
  if (!length_delimited) {
    skip(length);
    return {};
  }
  if (f->kind == Kind::kMessage) {
    name(*f, out);
    out += '{';
    levels_.push_back({f->message, left_ - length});
    return {};
  }
  if (length == 0 && !f->repeated && f->oneof < 0) return {};
  name(*f, out);
  if (f->kind == Kind::kBytes) {
    out += '"';
    in_bytes_ = true;
    bytes_left_ = length;
    base64_ = {};
    return {};
  }
  std::string text;
  while (text.size() < length && left_ > 0) {
    const std::string_view piece = front(length - text.size());
    text.append(piece);
    skip(piece.size());
  }
  if (!append_json_string(text, escapes_, out))
    return make_error(Code::kUnsupported, "proto: field {} contains invalid UTF-8", f->full_name);
  return {};
}

Result<> JsonWriter::value(const FieldType& f, uint64_t v, std::string& out) {
  if (v == 0 && !f.repeated && f.oneof < 0) return {};
  name(f, out);
  switch (f.kind) {
    case Kind::kBool:
      out += v != 0 ? "true" : "false";
      break;
    case Kind::kInt32:
      append_integer(static_cast<uint64_t>(static_cast<int64_t>(static_cast<int32_t>(v))), true, out);
      break;
    case Kind::kUint32:
      append_integer(static_cast<uint32_t>(v), false, out);
      break;
    case Kind::kInt64:
    case Kind::kUint64:
      out += '"';
      append_integer(v, f.kind == Kind::kInt64, out);
      out += '"';
      break;
    case Kind::kEnum: {
      const auto known = f.enumeration->names.find(static_cast<int32_t>(v));
      if (known == f.enumeration->names.end()) {
        append_integer(static_cast<uint64_t>(static_cast<int64_t>(static_cast<int32_t>(v))), true, out);
      } else {
        out.append("\"").append(known->second).append("\"");
      }
      break;
    }
    case Kind::kString:
    case Kind::kBytes:
    case Kind::kMessage:
      break;
  }
  return {};
}

}  // namespace quoin::httpapi::gateway
