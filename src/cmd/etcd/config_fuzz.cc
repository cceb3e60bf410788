// The command line, the environment and the configuration file, from arbitrary bytes: the first byte chooses
// which, words are separated by NUL. Nothing may crash; what was accepted must hold what the struct promises.
#include <cstdint>
#include <cstdlib>

#include "base/check.h"
#include "cmd/etcd/config.h"
#include "cmd/etcd/config_check.h"
#include "cmd/etcd/config_options.h"
#include "cmd/etcd/config_yaml.h"
#include "cmd/etcd/flags_text.h"

namespace {

void check_accepted(const quoin::cmd::Command& c) {
  using quoin::cmd::Command;
  if (c.action != Command::Action::kRun) return;
  CHECK(!c.config.server.data_dir.empty());
  CHECK_GE(c.config.server.election_ns, 5 * c.config.server.heartbeat_ns);
  CHECK_GE(c.config.server.election_ticks(), 5);
  CHECK(!c.config.listen_client_urls.empty() && !c.config.listen_peer_urls.empty());
  (void)c.config.initial_members().has_value();
}

}  // namespace

extern "C" int LLVMFuzzerTestOneInput(const uint8_t* data, size_t size) {
  if (size == 0) return 0;
  const std::string_view text(reinterpret_cast<const char*>(data + 1), size - 1);
  const quoin::cmd::ReadOptions options{
      .default_host = [] { return std::pair<std::string, std::string>("10.0.0.1", ""); }};
  if (data[0] % 3 == 0) {
    quoin::cmd::FlagSet flags = quoin::cmd::make_flags();
    if (auto file = quoin::cmd::read_config_text(std::string(text), flags); file && file->panic.empty()) {
      quoin::cmd::CheckState state;
      state.explicitly_set = file->keys;
      (void)quoin::cmd::check_options(flags, state).has_value();
    }
    return 0;
  }
  auto words = quoin::cmd::split(text, '\0');
  for (const std::string& w : words) {
    if (w.find("config-file") != std::string::npos || w.find("CONFIG_FILE") != std::string::npos)
      return 0;  // no files here
  }
  if (data[0] % 3 == 1) {
    words.insert(words.begin(), "etcd");
    check_accepted(quoin::cmd::read_command_line(words, {}, options));
  } else {
    check_accepted(quoin::cmd::read_command_line({"etcd"}, words, options));
  }
  return 0;
}
