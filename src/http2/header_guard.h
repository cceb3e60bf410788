// Keeps long header blocks from ending a connection: what stands between the socket and libnghttp2.
//
// libnghttp2 fails the whole connection with COMPRESSION_ERROR for a name or value of more than 64 KiB, and
// counts CONTINUATION frames. Both would hit every call of the connection for the fault of one. So a header
// block in more than one frame goes through here, as it arrives:
//   - its bytes are put into frames of full size again, so that only bytes count and not frames;
//   - a string longer than kMaxStringBytes is replaced by kStandInBytes of 'x', and the stream is remembered
//     (take_cut()), so that its call alone can be failed.
// The peer's and our compression tables stay equal: an entry as long as the string or as its stand-in is
// longer than the table (4,096 bytes; RFC 7541, 4.4), and both empty it.
// Blocks in one frame (at most 16,384 bytes, so no string of theirs is too long) and all other frames pass
// untouched. What is malformed passes too: libnghttp2 finds the fault and names it.
//
// Threads: confined. Bounds: one frame is kept, and 8 bytes of an incomplete frame head. A block of more than
// kMaxBlockBytes is not taken (overflowed()).
// Source: RFC 9113 (4.1, 6.2, 6.10), RFC 7541 (5, 6).
#pragma once
#include <cstddef>
#include <cstdint>
#include <string>
#include <string_view>
#include <vector>

namespace quoin::http2 {

class HeaderGuard {
 public:
  static constexpr size_t kMaxStringBytes = 65'536;
  static constexpr size_t kStandInBytes = 4'096;
  // Twice what a list of headers may hold, as in Go.
  static constexpr size_t kMaxBlockBytes = 32 << 20;

  // The bytes to give to the library in place of these. The view ends at the next call, or with `in`.
  std::string_view pass(std::string_view in);
  // Whether a string of this stream's block was replaced; forgets the stream.
  bool take_cut(int32_t stream);
  // The library has seen all that was passed: of the streams with a replaced string only the one whose block
  // is under way can still be asked for.
  void forget_cuts();
  // CONTINUATION frames since the last call.
  size_t take_continuations();
  bool overflowed() const { return block_bytes_ > kMaxBlockBytes; }

 private:
  // Where the scan stands in a block (RFC 7541, 6).
  enum class At : uint8_t {
    kField,
    kIndex,    // the rest of an index or table size
    kLength,   // of a name or a value
    kString,   // its bytes
    kUnknown,  // malformed: the rest of the block passes as it is
  };
  struct FrameHead {
    size_t length;
    uint8_t type, flags;
    int32_t stream;
  };

  static FrameHead parse(const char* p);
  void begin_block_frame(const FrameHead& head, std::string_view head_bytes);
  bool take_lead(std::string_view& in);
  void end_block_frame();
  void scan(std::string_view fragment);
  void scan_byte(uint8_t b);
  void begin_string(size_t length);
  void end_string();
  void put(std::string_view bytes);
  void emit(bool last);
  void leave_block();

  std::string out_;         // what pass() returns if it is not its input
  bool changed_ = false;    // out_ is in use
  std::string joined_;      // held_ and the input behind it
  std::string held_;        // an incomplete frame head
  size_t plain_left_ = 24;  // bytes that pass: of the preface, of a frame's payload
  std::string frame_;       // of the block, not yet passed on
  std::vector<int32_t> cut_;

  // The block under way; 0: none.
  int32_t stream_ = 0;
  bool in_frame_ = false;      // of the block, not all of its payload came
  bool ends_block_ = false;    // END_HEADERS of that frame
  bool first_passed_ = false;  // the block's HEADERS frame was passed on
  bool end_stream_ = false;
  std::string lead_;       // head, pad length and priority of the HEADERS frame, as they came
  size_t lead_bytes_ = 0;  // of lead_ once it is complete; 0 in a CONTINUATION
  size_t payload_left_ = 0, pad_left_ = 0;
  size_t block_bytes_ = 0, continuations_ = 0;

  At at_ = At::kField;
  At after_index_ = At::kField;
  bool is_name_ = false;   // kLength, kString
  bool replaced_ = false;  // kString: its stand-in was passed on
  std::string length_;     // bytes of the length so far
  uint64_t number_ = 0;
  unsigned shift_ = 0;
  size_t string_left_ = 0;
};

}  // namespace quoin::http2
