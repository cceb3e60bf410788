#include "cmd/etcdutl/commands.h"

#include <unistd.h>

#include <cerrno>
#include <csignal>
#include <map>

#include "base/go_text.h"
#include "base/version.h"
#include "cmd/cobra/completion.h"
#include "cmd/etcdutl/check.h"
#include "cmd/etcdutl/db_status.h"
#include "cmd/etcdutl/defrag.h"
#include "cmd/etcdutl/files.h"
#include "cmd/etcdutl/hash_file.h"
#include "cmd/etcdutl/migrate.h"
#include "cmd/etcdutl/printer.h"
#include "cmd/etcdutl/restore.h"
#include "cmd/etcdutl/restore_flags.h"
#include "io/executor.h"
#include "posix/clock.h"
#include "posix/file.h"
#include "posix/resolver.h"

namespace quoin::utl {

namespace {

using cmd::CobraCommand;
using cmd::CobraFlag;

// etcd's exit codes (pkg/cobrautl).
constexpr int kExitError = 1;
constexpr int kExitBadFeature = 4;
constexpr int kExitBadArgs = 128;

// No engine waits for a completion.
class NoCompletions final : public io::Executor {
 public:
  void post(Task) override {}
  bool running_here() const override { return true; }
};

struct Context {
  const CobraCommand& command;
  const std::vector<std::string>& words;
  Terminal& terminal;
  const Machine& machine;
  cmd::CobraFlags flags;

  const std::string& text(std::string_view flag) const { return flags.at(flag).text; }
};

int fail(Terminal& terminal, int code, std::string_view text) {
  terminal.say(fmt::format("Error: {}\n", text));
  return code;
}
int fail(const Context& c, int code, std::string_view text) {
  return fail(c.terminal, code, text);
}
int fail(const Context& c, const Error& error) {
  return fail(c, kExitError, error.text());
}

// The result, to standard output. A reader that went away ends the program as the system ends others.
int print(Terminal& terminal, std::string_view text) {
  terminal.clear_progress();
  while (!text.empty()) {
    const ssize_t n = ::write(STDOUT_FILENO, text.data(), text.size());
    if (n < 0 && errno == EINTR) continue;
    if (n < 0 && errno == EPIPE) {
      std::signal(SIGPIPE, SIG_DFL);
      std::raise(SIGPIPE);
    }
    if (n < 0) return fail(terminal, kExitError, fmt::format("write /dev/stdout: {}", go_errno_text(errno)));
    text.remove_prefix(static_cast<size_t>(n));
  }
  return 0;
}

Result<std::unique_ptr<bolt::Db>> open_to_read(const Context& c, const std::string& path) {
  bolt::Options options;
  options.read_only = true;
  return open_database(c.machine.fs, path, options, c.terminal.job(), [&] {
    c.terminal.say(fmt::format("waiting for etcd to close and release its lock on {}.\n", go_quote(path)));
  });
}

Result<std::unique_ptr<bolt::Db>> open_to_write(const Context& c, const std::string& path,
                                                std::string_view hint) {
  bolt::Options options;
  options.create = false;
  return open_database(c.machine.fs, path, options, c.terminal.job(), [&] {
    c.terminal.say(
        fmt::format("waiting for etcd to close and release its lock on {}.{}\n", go_quote(path), hint));
  });
}

// ---- the commands ----

int snapshot_status(const Context& c) {
  if (c.words.size() != 1) return fail(c, kExitBadArgs, "snapshot status requires exactly one argument");
  const std::string& path = c.words[0];
  if (const auto there = check_there(path); !there) return fail(c, there.error());
  const auto format = parse_format(c.text("write-out"));
  if (!format) return fail(c, kExitBadFeature, "unsupported output format");
  const auto db = open_to_read(c, path);
  if (!db) return fail(c, db.error());
  const auto status = db_status(**db, c.terminal.job());
  if (!status) return fail(c, status.error());
  if (*format == Format::kProtobuf)
    return fail(c, kExitBadFeature, "protobuf not supported as output format");
  return print(c.terminal, print_status(*status, *format));
}

int snapshot_restore(const Context& c) {
  if (c.words.size() != 1) return fail(c, kExitBadArgs, "snapshot restore requires exactly one argument");
  const auto options = read_restore_flags(c.flags, c.words[0]);
  if (!options) return fail(c, kExitBadArgs, options.error().text());
  const auto done = restore_snapshot(*options, c.machine, c.terminal.job());
  return done ? 0 : fail(c, done.error());
}

int hashkv(const Context& c) {
  const auto format = parse_format(c.text("write-out"));
  if (!format) return fail(c, kExitBadFeature, "unsupported output format");
  const std::string& path = c.words[0];
  if (const auto there = check_there(path); !there) return fail(c, there.error());
  const auto db = open_to_read(c, path);
  if (!db) return fail(c, db.error());
  const auto hash = hash_file(**db, c.flags.at("rev").number, c.terminal.job());
  if (!hash) {
    std::string_view text = hash.error().text();
    constexpr std::string_view kServer = "etcdserver: ";  // what the server puts before these texts
    if (text.starts_with(kServer)) text.remove_prefix(kServer.size());
    return fail(c, kExitError, text);
  }
  if (*format == Format::kProtobuf)
    return fail(c, kExitBadFeature, "protobuf not supported as output format");
  return print(c.terminal, print_hash(*hash, *format));
}

int defrag(const Context& c) {
  const std::string& dir = c.text("data-dir");
  const std::string path = database_path(dir);
  const auto run = [&]() -> Result<> {
    TRY(check_there(path));
    ASSIGN_OR_RETURN(
        auto db, open_to_write(c, path, " To defrag a running etcd instance, use `etcdctl defrag` instead."));
    return defragment(c.machine, std::move(db), c.terminal.job());
  };
  const auto done = run();
  if (done) return 0;
  return fail(c, kExitError,
              fmt::format("Failed to defragment etcd data[{}] ({})", dir, done.error().text()));
}

int migrate_schema(const Context& c) {
  const auto target = parse_target_version(c.text("target-version"));
  if (!target) return fail(c, kExitBadArgs, target.error().text());
  const MigrateOptions options{c.text("data-dir"), *target, c.flags.at("force").boolean};
  const std::string path = database_path(options.data_dir);
  if (const auto there = check_there(path); !there) return fail(c, there.error());
  auto db = open_to_write(c, path, "");
  if (!db) return fail(c, db.error());
  const auto done = migrate(options, c.machine, std::move(*db));
  return done ? 0 : fail(c, done.error());
}

int check(const Context& c) {
  const auto format = parse_format(c.text("write-out"));
  if (!format) return fail(c, kExitBadFeature, "unsupported output format");
  if (*format != Format::kSimple && *format != Format::kJson) {
    return fail(c, kExitBadFeature, fmt::format("{} not supported as output format", c.text("write-out")));
  }
  if (const auto there = check_there(c.words[0]); !there) return fail(c, there.error());
  const auto report = check_directory(c.words[0], c.text("wal-dir"), c.machine, c.terminal.job());
  if (!report) return fail(c, report.error());
  const int code = print(c.terminal, print_report(*report, *format));
  return code != 0 || report->sound() ? code : kExitError;
}

int version(const Context& c) {
  const std::string_view all = kEtcdVersion;
  return print(c.terminal,
               fmt::format("etcdutl version: {}\nAPI version: {}\n", all, all.substr(0, all.rfind('.'))));
}

int completion(const Context& c) {
  return print(c.terminal, cmd::completion_script(c.words[0], "etcdutl"));
}

using Handler = int (*)(const Context&);

// ---- the tree ----

CobraCommand& add(CobraCommand& parent, std::string use, std::string brief) {
  CobraCommand& command = parent.add(std::move(use), std::move(brief));
  command.runnable = true;
  return command;
}

void add_snapshot(CobraCommand& root) {
  CobraCommand& parent = root.add("snapshot <subcommand>", "Manages etcd node snapshots");
  declare_restore_flags(add(parent, "restore <filename> --data-dir {output dir} [options]",
                            "Restores an etcd member snapshot to an etcd directory")
                            .flags);
  add(parent, "status <filename>", "Gets backend snapshot status of a given file");
}

void add_hashkv(CobraCommand& root) {
  CobraCommand& command = add(root, "hashkv <filename>", "Prints the KV history hash of a given file");
  command.check_words = cmd::exact_words(1);
  command.flags.add({.name = "rev",
                     .kind = CobraFlag::Kind::kInt64,
                     .help = "maximum revision to hash (default: latest revision)"});
}

void add_defrag(CobraCommand& root) {
  CobraCommand& command = add(root, "defrag", "Defragments the storage of the etcd");
  command.flags.add({.name = "data-dir",
                     .help = "Required. Defragments a data directory not in use by etcd.",
                     .required = true});
}

void add_migrate(CobraCommand& root) {
  CobraCommand& command =
      add(root, "migrate",
          "Migrates schema of etcd data dir files to make them compatible with different etcd version");
  command.flags.add({.name = "data-dir", .help = "Path to the etcd data dir", .required = true});
  command.flags.add(
      {.name = "target-version",
       .help = "Target etcd version to migrate contents of data dir. Minimal value 3.5. Format \"X.Y\" "
               "for example 3.6.",
       .required = true});
  command.flags.add(
      {.name = "force",
       .kind = CobraFlag::Kind::kBool,
       .help = "Ignore migration failure and forcefully override storage version. Not recommended."});
}

void add_check(CobraCommand& root) {
  CobraCommand& command =
      add(root, "check <data-dir>", "Checks all files of a data directory not in use by etcd");
  command.check_words = cmd::exact_words(1);
  command.flags.add(
      {.name = "wal-dir", .help = "Path to the WAL directory (within the data directory if none given)"});
}

void add_completion(CobraCommand& root) {
  CobraCommand& command = add(root, "completion [bash|zsh|fish|powershell]", "Generate completion script");
  command.flags_in_use_line = false;
  command.values = {"bash", "zsh", "fish", "powershell"};
  command.check_words = cmd::all_of({cmd::exact_words(1), cmd::only_values()});
}

const std::map<std::string, Handler, std::less<>>& handlers() {
  static const std::map<std::string, Handler, std::less<>> kHandlers = {
      {"etcdutl snapshot status", snapshot_status},
      {"etcdutl snapshot restore", snapshot_restore},
      {"etcdutl hashkv", hashkv},
      {"etcdutl defrag", defrag},
      {"etcdutl migrate", migrate_schema},
      {"etcdutl version", version},
      {"etcdutl completion", completion},
      {"etcdutl check", check},
  };
  return kHandlers;
}

int run_command(const cmd::CobraOutcome& read, Terminal& terminal) {
  NoCompletions none;
  const auto fs = posix::make_file_system(none);
  posix::SystemClock clock;
  posix::DnsResolver resolver;
  const Machine machine{*fs, clock, terminal, &resolver};
  const Context context{*read.command, read.words, terminal, machine, read.command->all_flags()};
  return handlers().find(read.command->path())->second(context);
}

}  // namespace

std::unique_ptr<CobraCommand> make_commands() {
  auto root = std::make_unique<CobraCommand>("etcdutl", "An administrative command line tool for etcd3.");
  root->options.help_command = true;
  root->options.prefix_names = true;
  root->options.help_is_usage = true;
  root->persistent.add({.name = "write-out",
                        .shorthand = 'w',
                        .help = "set the output format (fields, json, protobuf, simple, table)",
                        .text = "simple",
                        .values = {"fields", "json", "protobuf", "simple", "table"}});
  add_snapshot(*root);
  add_hashkv(*root);
  add_defrag(*root);
  add_migrate(*root);
  add_check(*root);
  add_completion(*root);
  add(*root, "version", "Prints the version of etcdutl");
  return root;
}

int run_etcdutl(const std::vector<std::string>& words) {
  std::signal(SIGPIPE, SIG_IGN);  // see print(); an engine at work must not be cut off by its log
  Terminal terminal;
  const auto root = make_commands();
  const auto completed = cmd::complete(*root, words);
  const cmd::CobraOutcome read = completed ? *completed : root->read(words);
  if (!read.err.empty()) terminal.say(read.err);
  if (!read.error.empty()) return fail(terminal, kExitError, read.error);
  if (read.command == nullptr) return print(terminal, read.out);
  Terminal::catch_signals();
  posix::install_sigbus_report();
  const int code = run_command(read, terminal);
  // An interrupted run has cleaned up and said so; it ends as the signal would have ended it.
  if (const int number = Terminal::signal_caught(); number != 0 && code != 0) {
    std::signal(number, SIG_DFL);
    std::raise(number);
  }
  return code;
}

}  // namespace quoin::utl
