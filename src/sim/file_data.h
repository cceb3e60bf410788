// The bytes of one simulated file, twice: what the process sees, and what is durable.
//
// Both images are sparse arrays of 4096-byte chunks (null: zeros) that share chunks where they can, so an
// append of 100 bytes touches one chunk whatever the file's size. Which 512-byte sectors differ is kept as
// one bit a sector. The rules of what a crash leaves are stated in disk.h.
#pragma once
#include <array>
#include <cstdint>
#include <list>
#include <map>
#include <memory>
#include <span>
#include <string>
#include <string_view>
#include <vector>

#include "base/prng.h"

namespace quoin::sim {

constexpr uint64_t kSectorBytes = 512;
constexpr uint64_t kChunkBytes = 4096;

class FileData {
 public:
  uint64_t size() const { return visible_.size; }
  uint64_t durable_size() const { return durable_.size; }

  // Visible image. read() returns the number of bytes read, fewer than asked only at the end.
  size_t read(uint64_t offset, std::span<char> out) const { return visible_.read(offset, out); }
  // The same where `out` holds zeros already: a part that was never written costs nothing.
  size_t read_over_zeros(uint64_t offset, std::span<char> out) const {
    return visible_.read(offset, out, true);
  }
  void write(uint64_t offset, std::string_view bytes);
  void resize(uint64_t size);  // new bytes are zeros

  std::string durable_bytes() const;
  std::string visible_bytes() const;

  // A sync covers what was written before begin_sync(). It takes effect with end_sync(): all of it durable,
  // or (ok false) any part of it, and the rest forgotten: no later sync covers it.
  uint64_t begin_sync();
  void end_sync(uint64_t ticket, bool ok, Prng& prng);
  bool clean() const { return dirty_.empty() && syncs_.empty() && durable_.size == visible_.size; }

  // What a crash now may leave, drawn from `prng`: a file whose two images are equal.
  std::shared_ptr<FileData> survivor(Prng& prng) const;

  // The durable image alone.
  std::shared_ptr<FileData> durable_twin() const;

  // Flips one bit of the medium. `cached` leaves the visible image as it is (the page cache still has the
  // good bytes); else the process sees it too. False if the offset is beyond the image's end.
  bool flip_bit(uint64_t offset, int bit, bool cached);

 private:
  struct Chunk {
    std::array<char, kChunkBytes> bytes{};
  };
  struct Image {
    uint64_t size = 0;
    std::vector<std::shared_ptr<Chunk>> chunks;  // up to ceil(size / kChunkBytes); null: zeros

    size_t read(uint64_t offset, std::span<char> out, bool over_zeros = false) const;
    // The chunk for writing: made if missing, copied if shared.
    Chunk& own(uint64_t chunk);
    const Chunk* at(uint64_t chunk) const { return chunk < chunks.size() ? chunks[chunk].get() : nullptr; }
    // Cuts or extends; bytes beyond the new end are forgotten.
    void set_size(uint64_t size);
    void take_sectors(uint64_t chunk, uint8_t mask, const std::shared_ptr<Chunk>& from);
  };
  struct Sectors {
    uint8_t mask = 0;
    std::shared_ptr<Chunk> bytes;
  };
  struct Capture {
    uint64_t ticket;
    uint64_t size;
    std::map<uint64_t, Sectors> chunks;
  };
  static void apply(Image& image, const Capture& capture);

  Image visible_, durable_;
  std::map<uint64_t, uint8_t> dirty_;  // chunk -> sectors written since the last begin_sync()
  std::list<Capture> syncs_;           // under way, oldest first
  uint64_t next_ticket_ = 1;
};

}  // namespace quoin::sim
