// Durations in log lines and settings: Go's text of them.
#pragma once
#include "base/go_duration.h"

namespace quoin::posix {

using quoin::append_duration;
using quoin::duration_text;

}  // namespace quoin::posix
