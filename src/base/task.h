// A move-only callable, the unit of work that executors run.
#pragma once
#include <absl/functional/any_invocable.h>

namespace quoin {
using Task = absl::AnyInvocable<void()>;
}  // namespace quoin
