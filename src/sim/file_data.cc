#include "sim/file_data.h"

#include <algorithm>
#include <bit>
#include <cstring>

#include "base/check.h"

namespace quoin::sim {
namespace {
uint64_t chunks_for(uint64_t size) {
  return (size + kChunkBytes - 1) / kChunkBytes;
}

// Sectors of the chunk touched by [begin, end) of its bytes.
uint8_t sector_mask(uint64_t begin, uint64_t end) {
  const unsigned first = static_cast<unsigned>(begin / kSectorBytes);
  const unsigned last = static_cast<unsigned>((end - 1) / kSectorBytes);
  return static_cast<uint8_t>(((1u << (last - first + 1)) - 1) << first);
}
// What may be left of a change of size.
uint64_t draw_size(uint64_t from, uint64_t to, bool all, Prng& prng) {
  if (all) return to;
  const uint64_t draw = prng.below(3);
  if (draw == 1) return to;
  // Growing in steps is what an append does; a cut happens as a whole.
  const uint64_t first = (from + kSectorBytes - 1) / kSectorBytes, last = to / kSectorBytes;
  return draw == 2 && to > from && first <= last ? prng.between(first, last) * kSectorBytes : from;
}

// The lowest set bits of `mask`, *left of them at most; *left is lowered by their number.
uint8_t lowest_bits(uint8_t mask, uint64_t* left) {
  uint8_t taken = 0;
  for (unsigned bit = 0; bit < 8 && *left > 0; ++bit) {
    if (!(mask & (1u << bit))) continue;
    taken |= static_cast<uint8_t>(1u << bit);
    --*left;
  }
  return taken;
}
}  // namespace

size_t FileData::Image::read(uint64_t offset, std::span<char> out, bool over_zeros) const {
  if (offset >= size) return 0;
  const size_t n = static_cast<size_t>(std::min<uint64_t>(out.size(), size - offset));
  for (size_t done = 0; done < n;) {
    const uint64_t in_chunk = (offset + done) % kChunkBytes;
    const size_t part = static_cast<size_t>(std::min<uint64_t>(n - done, kChunkBytes - in_chunk));
    if (const Chunk* c = at((offset + done) / kChunkBytes)) {
      std::memcpy(out.data() + done, c->bytes.data() + in_chunk, part);
    } else if (!over_zeros) {
      std::memset(out.data() + done, 0, part);
    }
    done += part;
  }
  return n;
}

FileData::Chunk& FileData::Image::own(uint64_t chunk) {
  auto& c = chunks[chunk];
  if (!c) {
    c = std::make_shared<Chunk>();
  } else if (c.use_count() > 1) {
    c = std::make_shared<Chunk>(*c);
  }
  return *c;
}

void FileData::Image::set_size(uint64_t new_size) {
  const uint64_t in_chunk = new_size % kChunkBytes;
  if (new_size < size && in_chunk != 0 && at(new_size / kChunkBytes)) {
    std::memset(own(new_size / kChunkBytes).bytes.data() + in_chunk, 0, kChunkBytes - in_chunk);
  }
  chunks.resize(chunks_for(new_size));
  size = new_size;
}

void FileData::Image::take_sectors(uint64_t chunk, uint8_t mask, const std::shared_ptr<Chunk>& from) {
  if (chunk >= chunks.size()) return;  // beyond this image's end
  if (mask == 0xff) {
    chunks[chunk] = from;
  } else {
    Chunk& c = own(chunk);
    for (unsigned s = 0; s < 8; ++s) {
      if (!(mask & (1u << s))) continue;
      char* to = c.bytes.data() + s * kSectorBytes;
      if (from) {
        std::memcpy(to, from->bytes.data() + s * kSectorBytes, kSectorBytes);
      } else {
        std::memset(to, 0, kSectorBytes);
      }
    }
  }
  // What lies beyond the end reads as zeros when the file grows again.
  const uint64_t end = size - std::min(size, chunk * kChunkBytes);
  if (end < kChunkBytes && chunks[chunk]) {
    Chunk& c = own(chunk);
    std::memset(c.bytes.data() + end, 0, kChunkBytes - end);
  }
}

void FileData::write(uint64_t offset, std::string_view bytes) {
  if (bytes.empty()) return;
  if (offset + bytes.size() > visible_.size) visible_.set_size(offset + bytes.size());
  while (!bytes.empty()) {
    const uint64_t chunk = offset / kChunkBytes;
    const uint64_t in_chunk = offset % kChunkBytes;
    const size_t part = static_cast<size_t>(std::min<uint64_t>(bytes.size(), kChunkBytes - in_chunk));
    std::memcpy(visible_.own(chunk).bytes.data() + in_chunk, bytes.data(), part);
    dirty_[chunk] |= sector_mask(in_chunk, in_chunk + part);
    offset += part;
    bytes.remove_prefix(part);
  }
}

void FileData::resize(uint64_t size) {
  if (size < visible_.size) {
    // The bytes cut off are zeros if the file grows again, and their durable twins may come back: both images
    // and the syncs under way may hold some.
    uint64_t end = std::max<uint64_t>(visible_.chunks.size(), durable_.chunks.size());
    for (const Capture& capture : syncs_) {
      if (!capture.chunks.empty()) end = std::max(end, capture.chunks.rbegin()->first + 1);
    }
    for (uint64_t chunk = size / kChunkBytes; chunk < end; ++chunk) {
      bool known = visible_.at(chunk) || durable_.at(chunk);
      for (const Capture& capture : syncs_) known = known || capture.chunks.count(chunk);
      if (!known) continue;
      const uint64_t begin = std::max(size, chunk * kChunkBytes) - chunk * kChunkBytes;
      dirty_[chunk] |= sector_mask(begin, kChunkBytes);
    }
  }
  visible_.set_size(size);
}

std::string FileData::durable_bytes() const {
  std::string out(durable_.size, '\0');
  durable_.read(0, out);
  return out;
}

std::string FileData::visible_bytes() const {
  std::string out(visible_.size, '\0');
  visible_.read(0, out);
  return out;
}

uint64_t FileData::begin_sync() {
  Capture capture{next_ticket_++, visible_.size, {}};
  for (const auto& [chunk, mask] : dirty_) {
    capture.chunks[chunk] = {mask, chunk < visible_.chunks.size() ? visible_.chunks[chunk] : nullptr};
  }
  dirty_.clear();
  syncs_.push_back(std::move(capture));
  return syncs_.back().ticket;
}

void FileData::apply(Image& image, const Capture& capture) {
  image.set_size(capture.size);
  for (const auto& [chunk, sectors] : capture.chunks) image.take_sectors(chunk, sectors.mask, sectors.bytes);
}

void FileData::end_sync(uint64_t ticket, bool ok, Prng& prng) {
  auto it = std::find_if(syncs_.begin(), syncs_.end(), [&](const Capture& c) { return c.ticket == ticket; });
  if (it == syncs_.end()) return;  // a later sync has covered it
  if (ok) {
    // A sync waits for everything written before it, also for what an earlier one still has under way.
    for (auto c = syncs_.begin(); c != std::next(it); ++c) apply(durable_, *c);
    syncs_.erase(syncs_.begin(), std::next(it));
    return;
  }
  if (prng.chance(1, 2)) durable_.set_size(it->size);
  for (const auto& [chunk, sectors] : it->chunks) {
    const uint8_t mask = sectors.mask & static_cast<uint8_t>(prng.next());
    if (mask) durable_.take_sectors(chunk, mask, sectors.bytes);
  }
  syncs_.erase(it);
}

std::shared_ptr<FileData> FileData::survivor(Prng& prng) const {
  auto out = std::make_shared<FileData>();
  Image& image = out->durable_;
  image = durable_;
  if (!clean()) {
    // The layers above the durable image, oldest first.
    std::vector<Capture> layers(syncs_.begin(), syncs_.end());
    Capture last{0, visible_.size, {}};
    for (const auto& [chunk, mask] : dirty_) {
      last.chunks[chunk] = {mask, chunk < visible_.chunks.size() ? visible_.chunks[chunk] : nullptr};
    }
    layers.push_back(std::move(last));

    enum { kNone, kAll, kAny, kPrefix };
    const uint64_t mode = prng.below(4);
    // The size first, and the sectors into a file long enough for all of them: a sector survives whole or not
    // at all, whatever part of it lies beyond the size of an earlier layer.
    uint64_t size = image.size, size_max = image.size;
    for (const Capture& layer : layers) {
      size_max = std::max(size_max, layer.size);
      if (mode != kNone) size = draw_size(size, layer.size, mode == kAll, prng);
    }
    image.set_size(size_max);
    for (const Capture& layer : layers) {
      uint64_t sectors_left = UINT64_MAX;
      if (mode == kPrefix) {
        uint64_t sectors = 0;
        for (const auto& [chunk, s] : layer.chunks) sectors += static_cast<uint64_t>(std::popcount(s.mask));
        sectors_left = prng.between(0, sectors);
      }
      for (const auto& [chunk, sectors] : layer.chunks) {
        uint8_t mask = mode == kNone ? 0 : sectors.mask;
        if (mode == kAny) mask &= static_cast<uint8_t>(prng.next());
        if (mode == kPrefix) mask = lowest_bits(mask, &sectors_left);
        if (mask) image.take_sectors(chunk, mask, sectors.bytes);
      }
    }
    image.set_size(size);
  }
  out->visible_ = image;
  return out;
}

std::shared_ptr<FileData> FileData::durable_twin() const {
  auto out = std::make_shared<FileData>();
  out->durable_ = durable_;
  out->visible_ = durable_;
  return out;
}

bool FileData::flip_bit(uint64_t offset, int bit, bool cached) {
  const char flip = static_cast<char>(1 << bit);
  bool done = false;
  for (Image* image : {&durable_, &visible_}) {
    if (image == &visible_ && cached) break;
    if (offset >= image->size) continue;
    // own() would turn one shared chunk into two, each flipped once: what is wanted.
    image->own(offset / kChunkBytes).bytes[offset % kChunkBytes] ^= flip;
    done = true;
  }
  return done;
}

}  // namespace quoin::sim
