#include "raft/read_only.h"

#include <algorithm>
#include <iterator>

namespace quoin::raft {

std::deque<ReadOnly::Read>::iterator ReadOnly::find(std::string_view context) {
  return std::find_if(queue_.begin(), queue_.end(),
                      [&](const Read& r) { return r.context().view() == context; });
}

void ReadOnly::add(Index index, Message&& request) {
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
