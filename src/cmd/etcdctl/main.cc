// etcdctl: reads the command line, runs one command, and ends with its exit code.
#include <unistd.h>

#include "cmd/cobra/completion.h"
#include "cmd/etcdctl/commands.h"
#include "cmd/etcdctl/output.h"

namespace quoin::ctl {
namespace {

int run(const std::vector<std::string>& words) {
  Registry registry;
  add_all_commands(registry);
  const auto completed = cmd::complete(registry.root(), words);
  cmd::CobraOutcome o = completed ? *completed : registry.root().read(words);
  out().put(o.out);
  if (!o.err.empty()) put_error(o.err);
  if (o.command == nullptr) return o.error.empty() ? kExitOk : kExitError;
  Session session(*o.command, std::move(o.words), o.words_before_dashes);
  const Ending end = registry.run_of(*o.command)(session);
  if (!end.text.empty()) put_error("Error: " + end.text + "\n");
  return end.code;
}

}  // namespace
}  // namespace quoin::ctl

int main(int argc, char** argv) {
  const int code = quoin::ctl::run({argv + 1, argv + argc});
  quoin::ctl::out().flush();
  // grpc++'s threads are not waited for: nothing of them matters any more.
  _exit(code);
}
