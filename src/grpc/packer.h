// The messages of one call that are compressed, in steps: a Range may answer with hundreds of megabytes, and
// zlib takes ten milliseconds or more for each of them.
//
// Threads: confined to its loop. Order: messages become complete in the order in which they were added.
// Memory: a large message is shared until it is compressed, piece by piece; its compressed bytes are kept until
// all of them are there, because the prefix in front of them says how many they are.
#pragma once
#include <deque>
#include <memory>
#include <span>
#include <string>
#include <string_view>
#include <vector>

#include "base/blob.h"
#include "grpc/gzip.h"
#include "http2/byte_queue.h"

namespace quoin::grpc {

class Packer {
 public:
  // Of uncompressed bytes in one step: about half a millisecond.
  static constexpr size_t kStepBytes = 32 << 10;
  // What a message costs beside its bytes, in bytes that could be compressed in that time.
  static constexpr size_t kMessageCostBytes = 1 << 10;

  // A message that is `head` followed by `parts`.
  void add(std::string head, std::span<const Blob> parts);
  bool idle() const { return waiting_.empty(); }
  // Of messages that are not complete: the bytes still to be compressed and those compressed already.
  size_t waiting_bytes() const { return plain_bytes_ + packed_bytes_ + packed_.size(); }
  // The same and what zlib occupies.
  size_t held_bytes() const { return waiting_bytes() + (gzip_ ? Gzip::kStateBytes : 0); }
  // Compresses about kStepBytes. Each message that becomes complete is appended to `out`, behind its prefix.
  void step(http2::ByteQueue& out);

 private:
  struct Message {
    std::string head;
    std::vector<Blob> parts;  // none of them empty
  };
  std::string_view part_under_way() const;
  void drop_part();
  void complete(http2::ByteQueue& out);

  std::deque<Message> waiting_;
  size_t plain_bytes_ = 0;  // of messages and parts not yet dropped
  // Of the first message: the part under way (0: the head), and how much of that is compressed.
  size_t part_ = 0, at_ = 0;
  std::unique_ptr<Gzip> gzip_;  // while messages wait
  std::vector<Blob> pieces_;    // of the first message, compressed
  size_t packed_bytes_ = 0;     // in pieces_
  std::string packed_;          // what follows them
};

}  // namespace quoin::grpc
