// One log line as zap prints it: JSON, or console with tabs (spec operations 6.1).
//
// An event is first copied into a flat record (on the caller's thread, without formatting), and rendered from
// it on the writer's thread.
#pragma once
#include <cstdint>
#include <string>
#include <string_view>

#include "base/log.h"

namespace quoin::posix {

// Appends everything rendering needs: message, caller, fields.
void encode_event(std::string& out, const log::Event& event, std::string_view logger_name);

// Renders one encoded event, newline included. `wall_ns` is shown in local time with six decimals. `stack`:
// lines from error up say where they were written a second time, as zap's stack traces begin.
void render_json(std::string& out, std::string_view record, log::Level level, int64_t wall_ns,
                 bool stack = true);
void render_console(std::string& out, std::string_view record, log::Level level, int64_t wall_ns,
                    bool stack = true);
// "folder/file.cc:12" of an encoded event.
std::string record_caller(std::string_view record);

// A JSON string's inside: zap's escapes, invalid UTF-8 as \ufffd.
void append_json_escaped(std::string& out, std::string_view s);
std::string_view level_name(log::Level level);

}  // namespace quoin::posix
