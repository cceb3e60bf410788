#include "raft/read_only.h"

#include <algorithm>
#include <iterator>

namespace quoin::raft {

namespace {
// Reads of other members that wait at a time. A member asks once in each of its rounds, and once more every half second
// while it hears nothing, so even a large cluster has some dozens. One more is dropped, as without a leader; whoever
// asked asks again. This member's own reads are bounded by itself.
constexpr size_t kOfOthersMax = 1024;
}  // namespace

std::deque<ReadOnly::Read>::iterator ReadOnly::find(std::string_view context) {
  return std::find_if(queue_.begin(), queue_.end(),
                      [&](const Read& r) { return r.context().view() == context; });
}

void ReadOnly::add(Index index, Message&& request) {
  if (request.from && queue_.size() >= kOfOthersMax) return;
  if (find(request.entries.front().data.view()) != queue_.end()) return;
  queue_.push_back({std::move(request), index, {}});
}

const MemberSet* ReadOnly::acknowledge(MemberId from, std::string_view context) {
  auto it = find(context);
  if (it == queue_.end()) return nullptr;
  it->acks.insert(from);
  return &it->acks;
}

std::vector<ReadOnly::Read> ReadOnly::advance(std::string_view context) {
  std::vector<Read> done;
  auto it = find(context);
  if (it == queue_.end()) return done;
  done.assign(std::make_move_iterator(queue_.begin()), std::make_move_iterator(std::next(it)));
  queue_.erase(queue_.begin(), std::next(it));
  return done;
}

}  // namespace quoin::raft
