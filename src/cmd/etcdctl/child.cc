#include "cmd/etcdctl/child.h"

#include <fcntl.h>
#include <spawn.h>
#include <sys/wait.h>
#include <unistd.h>

#include <cerrno>
#include <csignal>
#include <cstring>
#include <set>

#include "base/go_text.h"
#include "base/result.h"

extern char** environ;

namespace quoin::ctl {
namespace {

// Of several settings of one name the last one counts.
std::vector<std::string> environment(const std::vector<std::string>& before,
                                     const std::vector<std::string>& after) {
  std::vector<std::string> all = before;
  for (char** e = environ; *e != nullptr; ++e) all.emplace_back(*e);
  all.insert(all.end(), after.begin(), after.end());
  std::set<std::string> seen;
  std::vector<std::string> out;
  for (auto e = all.rbegin(); e != all.rend(); ++e) {
    if (seen.insert(e->substr(0, e->find('='))).second) out.insert(out.begin(), *e);
  }
  return out;
}

std::vector<char*> pointers(const std::vector<std::string>& texts) {
  std::vector<char*> out;
  for (const std::string& t : texts) out.push_back(const_cast<char*>(t.c_str()));
  out.push_back(nullptr);
  return out;
}

std::string start_error(const std::string& name, int error) {
  const bool by_path = name.find('/') != std::string::npos;
  if (error == ENOENT && !by_path) {
    return fmt::format("exec: {}: executable file not found in $PATH", go_quote(name));
  }
  return fmt::format("fork/exec {}: {}", name, go_errno_text(error));
}

std::string signal_name(int signal) {
  std::string name = strsignal(signal);
  if (!name.empty()) name[0] = static_cast<char>(std::tolower(static_cast<unsigned char>(name[0])));
  return name;
}

}  // namespace

ChildEnd run_child(const std::vector<std::string>& words, const std::vector<std::string>& env_before,
                   const std::vector<std::string>& env_after) {
  const std::vector<std::string> env = environment(env_before, env_after);
  posix_spawn_file_actions_t actions;
  posix_spawn_file_actions_init(&actions);
  posix_spawn_file_actions_addopen(&actions, STDIN_FILENO, "/dev/null", O_RDONLY, 0);
  // The child begins with the signals' default actions, whatever this program waits for.
  posix_spawnattr_t attributes;
  posix_spawnattr_init(&attributes);
  sigset_t none, all;
  sigemptyset(&none);
  sigfillset(&all);
  posix_spawnattr_setsigmask(&attributes, &none);
  posix_spawnattr_setsigdefault(&attributes, &all);
  posix_spawnattr_setflags(&attributes, POSIX_SPAWN_SETSIGMASK | POSIX_SPAWN_SETSIGDEF);
  pid_t pid = 0;
  const int error = posix_spawnp(&pid, words[0].c_str(), &actions, &attributes, pointers(words).data(),
                                 pointers(env).data());
  posix_spawnattr_destroy(&attributes);
  posix_spawn_file_actions_destroy(&actions);
  if (error != 0) return {1, start_error(words[0], error)};
  int status = 0;
  while (waitpid(pid, &status, 0) < 0 && errno == EINTR) {
  }
  if (WIFSIGNALED(status)) return {-1, "signal: " + signal_name(WTERMSIG(status))};
  const int code = WEXITSTATUS(status);
  return {code, code == 0 ? "" : fmt::format("exit status {}", code)};
}

}  // namespace quoin::ctl
