#include "cmd/etcdctl/snapshot_offline.h"

#include <csignal>

#include "cmd/etcdctl/output.h"
#include "cmd/etcdutl/db_status.h"
#include "cmd/etcdutl/files.h"
#include "cmd/etcdutl/printer.h"
#include "cmd/etcdutl/restore.h"
#include "cmd/etcdutl/restore_flags.h"
#include "cmd/etcdutl/terminal.h"
#include "io/executor.h"
#include "posix/clock.h"
#include "posix/file.h"
#include "posix/resolver.h"

namespace quoin::ctl {
namespace {

// No engine waits for a completion.
class NoCompletions final : public io::Executor {
 public:
  void post(Task) override {}
  bool running_here() const override { return true; }
};

// Runs an engine on this machine's files. A signal stops it between two pieces of work; it cleans up, and the program
// then ends as that signal would have ended it.
Ending run_engine(const std::function<Ending(utl::Terminal&, const utl::Machine&)>& engine) {
  utl::Terminal terminal;
  utl::Terminal::catch_signals();
  NoCompletions none;
  const auto fs = posix::make_file_system(none);
  posix::SystemClock clock;
  posix::DnsResolver resolver;
  Ending end = engine(terminal, {*fs, clock, terminal, &resolver});
  terminal.clear_progress();
  if (const int number = utl::Terminal::signal_caught(); number != 0 && end.code != kExitOk) {
    put_error("Error: " + end.text + "\n");
    std::signal(number, SIG_DFL);
    std::raise(number);
  }
  return end;
}

Ending failed(const Error& error) {
  return fail(kExitError, "{}", error.text());
}

Ending run_status(Session& s) {
  if (s.words().size() != 1) return bad_arguments("snapshot status requires exactly one argument");
  const std::string& path = s.words()[0];
  if (const auto there = utl::check_there(path); !there) return failed(there.error());
  const auto format = utl::parse_format(s.text("write-out"));
  if (!format) return fail(kExitBadFeature, "unsupported output format");
  return run_engine([&](utl::Terminal& terminal, const utl::Machine& machine) {
    bolt::Options options;
    options.read_only = true;
    const auto db = utl::open_database(machine.fs, path, options, terminal.job(), [&] {
      terminal.say(fmt::format("waiting for etcd to close and release its lock on \"{}\".\n", path));
    });
    if (!db) return failed(db.error());
    const auto status = utl::db_status(**db, terminal.job());
    if (!status) return failed(status.error());
    if (*format == utl::Format::kProtobuf) {
      return fail(kExitBadFeature, "protobuf not supported as output format");
    }
    terminal.clear_progress();
    out().put(utl::print_status(*status, *format));
    return ok();
  });
}

Ending run_restore(Session& s) {
  if (s.words().size() != 1) return bad_arguments("snapshot restore requires exactly one argument");
  const auto options = utl::read_restore_flags(s.flags(), s.words()[0]);
  if (!options) return bad_arguments("{}", options.error().text());
  return run_engine([&](utl::Terminal& terminal, const utl::Machine& machine) {
    const auto done = utl::restore_snapshot(*options, machine, terminal.job());
    return done ? ok() : failed(done.error());
  });
}

}  // namespace

void add_offline_snapshot_commands(Registry& r, CobraCommand& snapshot) {
  utl::declare_restore_flags(r.add(snapshot, "restore <filename> --data-dir {output dir} [options]",
                                   "Restores an etcd member snapshot to an etcd directory", run_restore)
                                 .flags);
  r.add(snapshot, "status <filename>", "Gets backend snapshot status of a given file", run_status);
}

}  // namespace quoin::ctl
