// What can be done, in the words of `check`.
#pragma once
#include <string_view>

namespace quoin::utl {

inline constexpr std::string_view kDatabaseRemedy =
    "If other members are healthy: remove this member from the cluster, delete its directory and add it "
    "anew; it gets the "
    "data from them. If it is alone: restore the newest backup (`etcdutl snapshot restore`).";

inline constexpr std::string_view kLogRemedy =
    "If other members are healthy: remove this member from the cluster, delete its directory and add it "
    "anew. If it is "
    "alone: `etcd --quoin-allow-wal-cut` goes on with what stands before the damage and loses what stands "
    "behind it; or "
    "restore the newest backup.";

inline constexpr std::string_view kHistoryRemedy =
    "Database and log are not of one history: one of them was copied or restored from elsewhere. Put back "
    "the parts that "
    "belong together, or replace the member.";

}  // namespace quoin::utl
