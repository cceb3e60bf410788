// The version of etcd's API that this client speaks: "3.6".
#pragma once
#include "base/version.h"

namespace quoin::ctl {

inline constexpr std::string_view kApiVersion = kEtcdVersion.substr(0, kEtcdVersion.rfind('.'));

}  // namespace quoin::ctl
