// put, get and del: their flags, the requests that they make, and how their answers are shown. The commands themselves use
// these, and the lines of a transaction.
//
// Threads: none. Source: etcdctl/ctlv3/command/{get,put,del}_command.go.
#pragma once
#include "cmd/cobra/command.h"
#include "cmd/etcdctl/ending.h"
#include "cmd/etcdctl/printer.h"

namespace quoin::ctl {

// Makes the command under `parent`, runnable.
cmd::CobraCommand& add_get(cmd::CobraCommand& parent);
cmd::CobraCommand& add_put(cmd::CobraCommand& parent);
cmd::CobraCommand& add_del(cmd::CobraCommand& parent);

using Words = std::vector<std::string>;

Or<pb::RangeRequest> read_get(const cmd::CobraFlags& flags, const Words& words);
// Reads standard input, to its end, where there is no value among the words.
Or<pb::PutRequest> read_put(const cmd::CobraFlags& flags, const Words& words);
// Waits two seconds before a range is deleted without --range.
Or<pb::DeleteRangeRequest> read_del(const cmd::CobraFlags& flags, const Words& words);

void show_get(std::string& out, const pb::RangeResponse& r, bool hex, bool value_only = false);
void show_put(std::string& out, const pb::PutResponse& r, bool hex);
void show_del(std::string& out, const pb::DeleteRangeResponse& r, bool hex);
void show_get(Fields& f, const pb::RangeResponse& r);
void show_put(Fields& f, const pb::PutResponse& r);
void show_del(Fields& f, const pb::DeleteRangeResponse& r);

// The key behind all keys that begin with `prefix`; "\0", which means no end, if there is none.
std::string prefix_end(std::string_view prefix);

inline constexpr std::string_view kNul{"\0", 1};

// l or s; the value that is meant by s is true.
Or<bool> is_serializable(std::string_view given, std::string_view named_in_error);

}  // namespace quoin::ctl
