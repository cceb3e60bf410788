// Lines to journald by its native protocol: one datagram of fields a line; what is too large for a datagram
// goes as a sealed memory file (spec operations 6.2; systemd's "Native Journal Protocol").
//
// Threads: confined to one (the log writer). Blocking, but for no longer than journald takes to make room.
#pragma once
#include <string>
#include <string_view>
#include <utility>

#include "base/log.h"
#include "base/result.h"

namespace quoin::posix {

class Journal {
 public:
  static constexpr const char* kDefaultSocket = "/run/systemd/journal/socket";

  // kIo: nobody listens there ("dial unixgram <path>: connect: no such file or directory").
  static Result<Journal> open(const std::string& socket_path, std::string identifier);
  Journal(Journal&& other) noexcept
      : fd_(std::exchange(other.fd_, -1)),
        socket_path_(std::move(other.socket_path_)),
        identifier_(std::move(other.identifier_)) {}
  Journal& operator=(Journal&&) = delete;
  ~Journal();

  // `caller`: "dir/file.cc:12". kIo: journald is gone or refuses; the next line is tried again, since it may
  // have been restarted.
  Result<> send(log::Level level, std::string_view caller, std::string_view line) const;

 private:
  Journal(int fd, std::string socket_path, std::string identifier)
      : fd_(fd), socket_path_(std::move(socket_path)), identifier_(std::move(identifier)) {}
  int fd_;  // not connected: that would not outlive a restart of journald
  std::string socket_path_;
  std::string identifier_;
};

// The datagram, for tests.
std::string journal_datagram(log::Level level, std::string_view package, std::string_view identifier,
                             std::string_view line);

}  // namespace quoin::posix
