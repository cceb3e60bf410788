#include "wal/segment_reader.h"

#include <algorithm>

#include "base/coding.h"
#include "base/crc32c.h"
#include "wire/message.h"
#include "wire/record.h"

namespace quoin::wal {
namespace {
constexpr uint64_t kSectorBytes = 512;
// Smaller than a block: most logs are read from a preallocated file whose end comes soon.
constexpr uint64_t kFirstBlockBytes = 64 << 10;

bool all_zero(std::string_view bytes) {
  return bytes.find_first_not_of('\0') == std::string_view::npos;
}
}  // namespace

SegmentReader::SegmentReader(io::File& file, std::string name, uint64_t bytes, uint32_t crc, bool last)
    : file_(file), name_(std::move(name)), bytes_(bytes), last_(last), crc_(crc) {}

Result<std::string_view> SegmentReader::view(uint64_t offset, uint64_t bytes) {
  if (offset < block_offset_ || offset + bytes > block_offset_ + block_.size()) {
    const uint64_t wanted = std::max(bytes, block_.empty() ? kFirstBlockBytes : kReadBlockBytes);
    const uint64_t n = std::min(wanted, bytes_ - offset);
    Result<size_t> got = 0;
    block_ = Blob::make(n, [&](char* p) { got = file_.read_at(offset, {p, n}); });
    block_offset_ = offset;
    if (!got) return got.error();
    if (*got < n) return make_error(Code::kTornTail, "unexpected EOF");  // cut since its size was asked for
  }
  return block_.view().substr(offset - block_offset_, bytes);
}

Result<std::optional<SegmentReader::Frame>> SegmentReader::frame() {
  const uint64_t left = bytes_ - offset_;
  if (left == 0) return std::nullopt;
  if (left < kFrameHeadBytes) return Error(Code::kTornTail);
  ASSIGN_OR_RETURN(const std::string_view head, view(offset_, kFrameHeadBytes));
  const uint64_t field = load_le<uint64_t>(head.data());
  if (field == 0) return std::nullopt;
  Frame frame{field & ~(0xffull << 56), (field >> 63) ? (field >> 56) & 7 : 0};
  if (frame.record_bytes > left - std::min(left, frame.padding)) {
    return make_error(
        Code::kTornTail,
        "unexpected EOF: [wal] max entry size limit exceeded when reading \"{}\", recBytes: {}, "
        "fileSize({}) - offset({}) - padBytes({}) = entryLimit({})",
        name_, frame.record_bytes, bytes_, offset_, frame.padding,
        static_cast<int64_t>(left) - static_cast<int64_t>(frame.padding));
  }
  if (kFrameHeadBytes + frame.record_bytes + frame.padding > left) return Error(Code::kTornTail);
  // A length field lies within one sector, so this is no torn write. Reading on would look between records.
  if ((frame.record_bytes + frame.padding) % 8 != 0) {
    return make_error(Code::kCorruption, "wal: damaged length field {:x}: in file '{}' at position: {}",
                      field, name_, offset_);
  }
  return frame;
}

// Go's isTornEntry: a write that did not happen as a whole leaves a sector of zeros in a preallocated file.
bool SegmentReader::torn(std::string_view data) const {
  if (!last_) return false;
  for (uint64_t at = offset_ + kFrameHeadBytes; !data.empty();) {
    const size_t part = std::min<uint64_t>(data.size(), kSectorBytes - at % kSectorBytes);
    if (all_zero(data.substr(0, part))) return true;
    data.remove_prefix(part);
    at += part;
  }
  return false;
}

Error SegmentReader::damaged(std::string_view data, std::string_view text) const {
  const bool torn = this->torn(data);
  return make_error(torn ? Code::kTornTail : Code::kCorruption, "{}: in file '{}' at position: {}",
                    torn ? "unexpected EOF" : text, name_, offset_);
}

Result<std::optional<Record>> SegmentReader::next() {
  ASSIGN_OR_RETURN(const auto frame, this->frame());
  if (!frame) return std::nullopt;
  ASSIGN_OR_RETURN(const std::string_view data,
                   view(offset_ + kFrameHeadBytes, frame->record_bytes + frame->padding));
  const auto m = wire::decode<wire::walpb::Record>(data.substr(0, frame->record_bytes));
  if (!m) return damaged(data, m.error().text());
  Record record{static_cast<RecordType>(m->type), m->crc, m->data ? block_.slice(*m->data) : Blob(), offset_};
  if (record.type != RecordType::kCrc) {
    crc_ = crc32c(crc_, record.data.view());
    if (crc_ != record.crc) {
      return damaged(data,
                     fmt::format("walpb: crc mismatch: expected: {:x} computed: {:x}", record.crc, crc_));
    }
  }
  offset_ += kFrameHeadBytes + frame->record_bytes + frame->padding;
  return record;
}

Result<std::optional<Record>> SegmentReader::next_plausible() {
  while (bytes_ - offset_ > kFrameHeadBytes) {
    ASSIGN_OR_RETURN(const std::string_view head, view(offset_, kFrameHeadBytes));
    const uint64_t field = load_le<uint64_t>(head.data());
    const uint64_t record_bytes = field & ~(0xffull << 56);
    const uint64_t padding = (8 - record_bytes % 8) % 8;
    const bool plausible = field != 0 && field >> 56 == (padding ? 0x80 | padding : 0) &&
                           record_bytes <= bytes_ - offset_ - kFrameHeadBytes;
    if (!plausible) {
      offset_ += 8;
      continue;
    }
    ASSIGN_OR_RETURN(const std::string_view data, view(offset_ + kFrameHeadBytes, record_bytes));
    const uint64_t at = offset_;
    offset_ += std::min(kFrameHeadBytes + record_bytes + padding, bytes_ - offset_);
    const auto m = wire::decode<wire::walpb::Record>(data);
    if (m) {
      return Record{static_cast<RecordType>(m->type), m->crc, m->data ? block_.slice(*m->data) : Blob(), at};
    }
  }
  return std::nullopt;
}

Result<bool> SegmentReader::anything_beyond(uint64_t bytes_max) {
  const uint64_t end = offset_ + std::min(bytes_max, bytes_ - offset_);
  for (uint64_t at = offset_; at < end;) {
    const uint64_t n = std::min(kReadBlockBytes, end - at);
    ASSIGN_OR_RETURN(const std::string_view bytes, view(at, n));
    if (!all_zero(bytes)) return true;
    at += n;
  }
  return false;
}

}  // namespace quoin::wal
