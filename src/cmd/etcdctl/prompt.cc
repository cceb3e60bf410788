// Source: bgentry/speakeasy 0.2.0, without the program stty.
#include <termios.h>
#include <unistd.h>

#include <cerrno>

#include "base/go_text.h"
#include "cmd/etcd/flags_text.h"
#include "cmd/etcdctl/output.h"
#include "cmd/etcdctl/session.h"

namespace quoin::ctl {
namespace {

// Turns off what the terminal shows of the typing, as long as it lives. A signal ends the program by its default action
// and would leave the terminal so; the mode TCSAFLUSH of the shell brings it back.
class Unseen {
 public:
  Unseen() {
    if (tcgetattr(STDIN_FILENO, &before_) != 0) return;
    is_terminal_ = true;
    termios now = before_;
    now.c_lflag &= ~static_cast<tcflag_t>(ECHO);
    tcsetattr(STDIN_FILENO, TCSAFLUSH, &now);
  }
  ~Unseen() {
    if (is_terminal_) tcsetattr(STDIN_FILENO, TCSAFLUSH, &before_);
  }
  Unseen(const Unseen&) = delete;
  Unseen& operator=(const Unseen&) = delete;

 private:
  termios before_{};
  bool is_terminal_ = false;
};

}  // namespace

Or<std::string> ask_password(std::string_view prompt) {
  out().put(prompt);
  out().flush();
  const Unseen unseen;
  std::string line;
  // Byte by byte: what follows the line may be for another reader.
  for (char c = 0;;) {
    const ssize_t n = read(STDIN_FILENO, &c, 1);
    if (n < 0 && errno == EINTR) continue;
    if (n < 0) {
      out().put("\n");
      return tl::unexpected(
          fail(kExitError, "failed during password entry: read /dev/stdin: {}", go_errno_text(errno)));
    }
    if (n == 0 || c == '\n') break;
    line += c;
  }
  out().put("\n");
  return std::string(cmd::trim_space(line));
}

}  // namespace quoin::ctl
