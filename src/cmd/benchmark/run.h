// Runs a command: connects, makes its phases, prints their reports.
//
// Threads: that of main(). Exit codes: 0; 1 if it could not begin or a phase failed, with one line on standard error
// behind the report of what was done; a signal kills the process after such a report. Calls that fail are counted in the
// report and change nothing about the exit code, as in etcd's tool.
#pragma once
#include "cmd/benchmark/arguments.h"
#include "cmd/benchmark/interrupts.h"

namespace quoin::cmd::bench {

int run_command(const Arguments& arguments, Interrupts& interrupts);

}  // namespace quoin::cmd::bench
