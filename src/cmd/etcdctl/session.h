// What a command works with: its words and flags, the client that they describe, and the printer.
//
//   Ending run_put(Session& s) {
//     ASSIGN_OR_RETURN(auto client, s.connect());
//     const auto response = client->call(kPut, request, s.deadline());
//     if (!response) return s.failed(response.error());
//     return s.print(*response, {...});
//   }
//
// Threads: of the main thread, but for print(). Source: etcdctl/ctlv3/command/global.go.
#pragma once
#include <memory>
#include <mutex>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "cmd/cobra/command.h"
#include "cmd/etcdctl/client.h"
#include "cmd/etcdctl/ending.h"
#include "cmd/etcdctl/printer.h"

namespace quoin::ctl {

class Session {
 public:
  Session(const cmd::CobraCommand& command, std::vector<std::string> words,
          std::optional<size_t> before_dashes)
      : command_(command),
        flags_(command.all_flags()),
        words_(std::move(words)),
        before_dashes_(before_dashes) {}

  const std::vector<std::string>& words() const { return words_; }
  // How many of them stood before "--".
  std::optional<size_t> words_before_dashes() const { return before_dashes_; }
  const cmd::CobraFlags& flags() const { return flags_; }
  bool flag(std::string_view name) const { return flags_.at(name).boolean; }
  const std::string& text(std::string_view name) const { return flags_.at(name).text; }
  const std::vector<std::string>& list(std::string_view name) const { return flags_.at(name).list; }
  int64_t number(std::string_view name) const { return flags_.at(name).number; }
  int64_t duration_ns(std::string_view name) const { return flags_.at(name).duration_ns; }
  // On the command line or by the environment.
  bool given(std::string_view name) const { return flags_.at(name).changed; }

  // The configuration of a client: environment, discovery, password, format, TLS files, read at the first call only.
  Or<ClientConfig> config();
  // A client of --endpoints.
  Or<std::unique_ptr<Client>> connect();
  // A client of some of them, or of others.
  Or<std::unique_ptr<Client>> connect(std::vector<std::string> endpoints);
  // From now until --command-timeout has passed. After config().
  Deadline deadline() const { return Deadline::after(duration_ns("command-timeout")); }
  const Printer& printer() const { return printer_; }
  Ending print(const google::protobuf::Message& message, const Forms& forms);
  // Of what has no message.
  Ending print(const Forms& forms);
  // How a failed call ends most commands.
  static Ending failed(const RpcError& error, int code = kExitError) { return {code, error.text()}; }

 private:
  Or<ClientConfig> read_config();

  const cmd::CobraCommand& command_;
  const cmd::CobraFlags flags_;
  const std::vector<std::string> words_;
  const std::optional<size_t> before_dashes_;
  std::optional<ClientConfig> config_;
  Printer printer_;
  std::mutex print_mutex_;  // watch -i prints from several threads
};

// The flags that all commands have.
void declare_global_flags(cmd::CobraCommand& root);

// The environment's values for the flags that `command` inherits (ETCDCTL_ENDPOINTS), and warnings about others of that
// kind on standard error. Fails where a flag is given in both ways.
Or<bool> apply_environment(const cmd::CobraCommand& command);

// Of --discovery-srv: etcd's client records of a domain, as URLs.
Or<std::vector<std::string>> discover_endpoints(const std::string& domain, const std::string& service_name);

// Asks on standard output and reads a line from standard input, unseen where that is a terminal. Spaces around it do not
// count.
Or<std::string> ask_password(std::string_view prompt);

// Names of flags in the environment: command-timeout is ETCDCTL_COMMAND_TIMEOUT.
std::string environment_name(std::string_view flag);

}  // namespace quoin::ctl
