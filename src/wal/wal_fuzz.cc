// A segment made of the input, read and opened for append.
//
// First byte even: the rest is the file as it is. Odd: the rest is records (type, two bytes of length, data),
// framed here with checksums that hold, so that what is in them is reached.
#include <cstddef>
#include <cstdint>
#include <string>
#include <string_view>

#include "base/check.h"
#include "base/coding.h"
#include "base/crc32c.h"
#include "sim/machine.h"
#include "wal/segment_reader.h"
#include "wal/wal.h"
#include "wire/coding.h"

namespace {

using namespace quoin;

std::string framed(std::string_view in) {
  std::string out;
  uint32_t crc = 0;
  while (in.size() >= 3) {
    const uint64_t type = static_cast<uint8_t>(in[0]);
    const std::string_view data = in.substr(3, load_le<uint16_t>(in.data() + 1));
    in.remove_prefix(3 + data.size());
    if (type != 4) crc = crc32c(crc, data);
    std::string record(32 + data.size(), '\0');
    char* p = wire::put_varint_field(record.data(), 1, type);
    p = wire::put_varint_field(p, 2, crc);
    if (!data.empty()) p = wire::put_bytes_field(p, 3, data);
    record.resize(static_cast<size_t>(p - record.data()));
    const uint64_t padding = (8 - record.size() % 8) % 8;
    char head[8];
    store_le<uint64_t>(head, record.size() | (padding ? (0x80 | padding) << 56 : 0));
    out.append(head, 8).append(record).append(padding, '\0');
  }
  return out;
}

bool same(const wal::Contents& a, const wal::Contents& b) {
  if (a.metadata.view() != b.metadata.view() || !(a.hard_state == b.hard_state) ||
      a.entries.size() != b.entries.size() || a.last_index != b.last_index) {
    return false;
  }
  for (size_t i = 0; i < a.entries.size(); ++i) {
    if (a.entries[i].index != b.entries[i].index || a.entries[i].term != b.entries[i].term ||
        a.entries[i].data.view() != b.entries[i].data.view()) {
      return false;
    }
  }
  return true;
}

}  // namespace

extern "C" int LLVMFuzzerTestOneInput(const uint8_t* bytes, size_t size) {
  if (size == 0) return 0;
  const std::string_view in(reinterpret_cast<const char*>(bytes) + 1, size - 1);
  const std::string file = bytes[0] % 2 ? framed(in) : std::string(in);
  const std::string name = wal::segment_name(0, Index(0));
  sim::Machine machine(1);
  machine.disk().put_file("/wal/" + name, file);

  const auto before = wal::read(machine.fs(), "/wal", {}, machine.log());
  const auto snapshots = wal::valid_snapshots(machine.fs(), "/wal", machine.log());
  if (before && !snapshots) CHECK(snapshots.error().code() == Code::kCorruption);
  auto opened = wal::open(machine.fs(), "/wal", {}, {Index(3), false}, machine.log());
  if (!opened) {
    CHECK(machine.read_file("/wal/" + name) == file, "refused, yet changed");
    return 0;
  }
  // What opens has been readable before, and reads the same after a repair.
  CHECK(before.has_value());
  CHECK(same(*before, opened->contents));
  CHECK_EQ(opened->tail.offset % 8, 0u);
  CHECK(opened->contents.entries.empty() || opened->contents.entries[0].index == Index(1));
  const auto after = wal::read(machine.fs(), "/wal", {}, machine.log());
  CHECK(after.has_value());
  CHECK(same(*after, opened->contents));
  return 0;
}
