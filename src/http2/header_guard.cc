#include "http2/header_guard.h"

#include <algorithm>
#include <utility>

#include "http2/give_back.h"

namespace quoin::http2 {
namespace {

constexpr size_t kHeadBytes = 9;
constexpr size_t kFrameBytes = 16'384;
constexpr uint8_t kHeaders = 1, kContinuation = 9;
constexpr uint8_t kEndStream = 1, kEndHeaders = 4, kPadded = 8, kPriority = 32;
constexpr size_t kPriorityBytes = 5;
constexpr size_t kKeepBytes = 2048;  // of a buffer, from call to call
constexpr unsigned kMaxShift = 28;   // of a number: beyond, libnghttp2 gives up too

std::string frame_head(size_t length, uint8_t type, uint8_t flags, int32_t stream) {
  const auto id = static_cast<uint32_t>(stream);
  std::string s;
  for (const size_t b : {length >> 16, length >> 8, length, size_t{type}, size_t{flags}, size_t{id >> 24},
                         size_t{id >> 16}, size_t{id >> 8}, size_t{id}}) {
    s += static_cast<char>(b);
  }
  return s;
}

// A string's length as HPACK writes it, without Huffman.
std::string string_length(size_t n) {
  std::string s(1, '\x7f');
  for (n -= 127; n >= 128; n >>= 7) s += static_cast<char>(n | 128);
  return s += static_cast<char>(n);
}

}  // namespace

HeaderGuard::FrameHead HeaderGuard::parse(const char* p) {
  const auto at = [p](int i) { return static_cast<uint32_t>(static_cast<uint8_t>(p[i])); };
  return {size_t{at(0)} << 16 | at(1) << 8 | at(2), static_cast<uint8_t>(at(3)), static_cast<uint8_t>(at(4)),
          static_cast<int32_t>((at(5) << 24 | at(6) << 16 | at(7) << 8 | at(8)) & 0x7fffffff)};
}

std::string_view HeaderGuard::pass(std::string_view in) {
  empty(out_, kKeepBytes);
  empty(joined_, kKeepBytes);
  changed_ = stream_ != 0;
  if (!held_.empty()) {
    joined_.assign(held_).append(in);
    held_.clear();
    in = joined_;
  }
  const std::string_view all = in;
  // Until something has to change, what passes is the beginning of the input itself.
  const auto keep = [&](size_t n) {
    if (changed_) out_.append(in.substr(0, n));
    in.remove_prefix(n);
  };
  while (!in.empty()) {
    if (plain_left_ > 0) {
      const size_t n = std::min(plain_left_, in.size());
      plain_left_ -= n;
      keep(n);
      continue;
    }
    if (in_frame_) {
      if (!take_lead(in)) continue;
      const size_t fragment = std::min(payload_left_ - pad_left_, in.size());
      scan(in.substr(0, fragment));
      in.remove_prefix(fragment);
      payload_left_ -= fragment;
      if (payload_left_ <= pad_left_) {
        const size_t pad = std::min(payload_left_, in.size());
        in.remove_prefix(pad);
        payload_left_ -= pad;
        pad_left_ = payload_left_;
      }
      if (payload_left_ == 0) end_block_frame();
      continue;
    }
    if (in.size() < kHeadBytes) {
      held_ = in;
      return changed_ ? std::string_view(out_) : all.substr(0, all.size() - in.size());
    }
    const FrameHead head = parse(in.data());
    const bool begins = stream_ == 0 && head.type == kHeaders && !(head.flags & kEndHeaders) &&
                        head.stream != 0 && head.length <= kFrameBytes;
    const bool continues =
        stream_ != 0 && head.type == kContinuation && head.stream == stream_ && head.length <= kFrameBytes;
    if (begins || continues) {
      if (!changed_) {
        changed_ = true;
        out_.assign(all.substr(0, all.size() - in.size()));
      }
      begin_block_frame(head, in.substr(0, kHeadBytes));
      in.remove_prefix(kHeadBytes);
    } else {
      // In the middle of a block this is a fault: the library shall see what came before it.
      if (stream_ != 0) {
        emit(false);
        leave_block();
      }
      plain_left_ = head.length;
      keep(kHeadBytes);
    }
  }
  return changed_ ? std::string_view(out_) : all;
}

void HeaderGuard::begin_block_frame(const FrameHead& head, std::string_view head_bytes) {
  in_frame_ = true;
  ends_block_ = head.flags & kEndHeaders;
  payload_left_ = head.length;
  pad_left_ = 0;
  lead_.clear();
  lead_bytes_ = 0;
  if (head.type == kHeaders) {
    stream_ = head.stream;
    first_passed_ = false;
    end_stream_ = head.flags & kEndStream;
    at_ = At::kField;
    block_bytes_ = 0;
    lead_ = head_bytes;
    lead_bytes_ = kHeadBytes + (head.flags & kPadded ? 1 : 0) + (head.flags & kPriority ? kPriorityBytes : 0);
  } else {
    ++continuations_;
  }
  block_bytes_ += head.length;
  if (payload_left_ == 0 && lead_.size() >= lead_bytes_) end_block_frame();
}

// Takes what stands before a HEADERS frame's fragment. False: more is needed, or the frame is malformed and
// passes as it is.
bool HeaderGuard::take_lead(std::string_view& in) {
  if (lead_.size() >= lead_bytes_) return true;
  const size_t n = std::min({lead_bytes_ - lead_.size(), payload_left_, in.size()});
  lead_.append(in.substr(0, n));
  in.remove_prefix(n);
  payload_left_ -= n;
  const bool padded = static_cast<uint8_t>(lead_[4]) & kPadded;
  const size_t pad = padded && lead_.size() > kHeadBytes ? static_cast<uint8_t>(lead_[kHeadBytes]) : 0;
  const bool complete = lead_.size() == lead_bytes_;
  if ((complete && pad > payload_left_) || (!complete && payload_left_ == 0)) {
    out_.append(lead_);
    plain_left_ = payload_left_;
    leave_block();
    return false;
  }
  if (!complete) return false;
  pad_left_ = pad;
  if (payload_left_ == 0) end_block_frame();
  return payload_left_ > 0;
}

void HeaderGuard::end_block_frame() {
  in_frame_ = false;
  if (!ends_block_) return;
  emit(true);
  leave_block();
}

void HeaderGuard::leave_block() {
  stream_ = 0;
  in_frame_ = false;
  payload_left_ = pad_left_ = 0;
  if (!overflowed()) block_bytes_ = 0;
  empty(frame_, kKeepBytes);
}

// ---------------------------------------------------------------- the block

void HeaderGuard::put(std::string_view bytes) {
  while (!bytes.empty()) {
    if (frame_.size() == kFrameBytes) emit(false);
    const size_t n = std::min(kFrameBytes - frame_.size(), bytes.size());
    frame_.append(bytes.substr(0, n));
    bytes.remove_prefix(n);
  }
}

void HeaderGuard::emit(bool last) {
  const uint8_t flags =
      static_cast<uint8_t>((last ? kEndHeaders : 0) | (!first_passed_ && end_stream_ ? kEndStream : 0));
  out_.append(frame_head(frame_.size(), first_passed_ ? kContinuation : kHeaders, flags, stream_));
  out_.append(frame_);
  first_passed_ = true;
  frame_.clear();
}

void HeaderGuard::scan(std::string_view fragment) {
  while (!fragment.empty()) {
    if (at_ == At::kUnknown) return put(fragment);
    if (at_ != At::kString) {
      scan_byte(static_cast<uint8_t>(fragment[0]));
      fragment.remove_prefix(1);
      continue;
    }
    const size_t n = std::min(string_left_, fragment.size());
    if (!replaced_) put(fragment.substr(0, n));
    fragment.remove_prefix(n);
    string_left_ -= n;
    if (string_left_ == 0) end_string();
  }
}

void HeaderGuard::scan_byte(uint8_t b) {
  const char c = static_cast<char>(b);
  switch (at_) {
    case At::kField: {
      put({&c, 1});
      // The index's prefix and what follows it.
      const unsigned mask = b & 0x80 ? 0x7f : b & 0x40 ? 0x3f : b & 0x20 ? 0x1f : 0x0f;
      const bool literal = !(b & 0x80) && (b & 0x60) != 0x20;
      is_name_ = literal && (b & mask) == 0;
      after_index_ = literal ? At::kLength : At::kField;
      length_.clear();
      at_ = (b & mask) == mask ? At::kIndex : after_index_;
      break;
    }
    case At::kIndex:
      put({&c, 1});
      if (!(b & 0x80)) at_ = after_index_;
      break;
    case At::kLength:
      length_ += c;
      if (length_.size() == 1) {
        number_ = b & 0x7f;
        shift_ = 0;
        if (number_ < 0x7f) begin_string(number_);
        break;
      }
      number_ += uint64_t{b & 0x7fu} << shift_;
      shift_ += 7;
      if (!(b & 0x80)) {
        begin_string(number_);
      } else if (shift_ > kMaxShift) {
        put(length_);
        at_ = At::kUnknown;
      }
      break;
    default:
      break;
  }
}

void HeaderGuard::begin_string(size_t length) {
  string_left_ = length;
  replaced_ = length > kMaxStringBytes;
  at_ = At::kString;
  if (replaced_) {
    put(string_length(kStandInBytes));
    put(std::string(kStandInBytes, 'x'));
    if (cut_.empty() || cut_.back() != stream_) cut_.push_back(stream_);
  } else {
    put(length_);
  }
  length_.clear();
  if (string_left_ == 0) end_string();
}

void HeaderGuard::end_string() {
  at_ = is_name_ ? At::kLength : At::kField;
  is_name_ = false;
}

// ---------------------------------------------------------------- for the session

bool HeaderGuard::take_cut(int32_t stream) {
  const auto it = std::find(cut_.begin(), cut_.end(), stream);
  if (it == cut_.end()) return false;
  cut_.erase(it);
  return true;
}

void HeaderGuard::forget_cuts() {
  std::erase_if(cut_, [this](int32_t id) { return id != stream_; });
}

size_t HeaderGuard::take_continuations() {
  return std::exchange(continuations_, 0);
}

}  // namespace quoin::http2
