#include "cmd/cobra/completion.h"
#include "cmd/etcdctl/commands.h"
#include "cmd/etcdctl/output.h"

namespace quoin::ctl {
namespace {

constexpr std::string_view kDescription = R"(To load completions:

Bash:

  $ source <(etcdctl completion bash)

  # To load completions for each session, execute once:
  # Linux:
  $ etcdctl completion bash > /etc/bash_completion.d/etcdctl
  # macOS:
  $ etcdctl completion bash > /usr/local/etc/bash_completion.d/etcdctl

Zsh:

  # If shell completion is not already enabled in your environment,
  # you will need to enable it.  You can execute the following once:

  $ echo "autoload -U compinit; compinit" >> ~/.zshrc

  # To load completions for each session, execute once:
  $ etcdctl completion zsh > "${fpath[1]}/_etcdctl"

  # You will need to start a new shell for this setup to take effect.

fish:

  $ etcdctl completion fish | source

  # To load completions for each session, execute once:
  $ etcdctl completion fish > ~/.config/fish/completions/etcdctl.fish

PowerShell:

  PS> etcdctl completion powershell | Out-String | Invoke-Expression

  # To load completions for every new session, run:
  PS> etcdctl completion powershell > etcdctl.ps1
  # and source this file from your PowerShell profile.
)";

}  // namespace

void add_completion_command(Registry& r) {
  CobraCommand& c =
      r.add("completion [bash|zsh|fish|powershell]", "Generate completion script", [](Session& s) {
        out().put(cmd::completion_script(s.words()[0], "etcdctl"));
        return ok();
      });
  c.description = kDescription;
  c.flags_in_use_line = false;
  c.values = {"bash", "zsh", "fish", "powershell"};
  c.check_words = cmd::all_of({cmd::exact_words(1), cmd::only_values()});
}

}  // namespace quoin::ctl
