// The versions this program says it has. Every place that shows or sends one takes it from here.
#pragma once
#include <string_view>

namespace quoin {

// The etcd release whose behaviour this program reproduces. Clients, peers and etcdctl decide by it.
inline constexpr std::string_view kEtcdVersion = "3.6.16";
// Quoin's own.
inline constexpr std::string_view kQuoinVersion = "0.1.0";

}  // namespace quoin
