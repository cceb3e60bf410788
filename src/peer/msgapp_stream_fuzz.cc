#include "peer/stream_fuzz.h"

extern "C" int LLVMFuzzerTestOneInput(const uint8_t* data, size_t size) {
  quoin::peer::fuzz_stream(quoin::peer::StreamKind::kMsgApp, data, size);
  return 0;
}
