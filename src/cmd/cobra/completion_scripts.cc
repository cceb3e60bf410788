#include "cmd/cobra/completion.h"

namespace quoin::cmd {
namespace {

// bash takes = and : for ends of words; they are put together again before the program is asked.
constexpr std::string_view kBash =
    R"sh(# bash completion for PROGRAM                              -*- shell-script -*-
__PROGRAM_complete() {
    local -a asked=() lines=()
    local i word glue="" line directive=0
    for ((i = 1; i <= COMP_CWORD; i++)); do
        word="${COMP_WORDS[i]}"
        if ((${#asked[@]} > 0)) && [[ -n $glue || $word == "=" || $word == ":" ]]; then
            asked[${#asked[@]} - 1]+="$word"
        else
            asked+=("$word")
        fi
        glue=""
        if [[ $word == "=" || $word == ":" ]]; then glue=yes; fi
    done
    COMPREPLY=()
    local current="${COMP_WORDS[COMP_CWORD]}"
    if [[ -n $glue ]]; then current=""; fi
    while IFS= read -r line; do lines+=("$line"); done < <("${COMP_WORDS[0]}" __completeNoDesc "${asked[@]}" 2>/dev/null)
    for line in "${lines[@]}"; do
        if [[ $line == :* ]]; then
            directive="${line#:}"
        elif [[ $line == "$current"* ]]; then
            COMPREPLY+=("$line")
        fi
    done
    if ((${#COMPREPLY[@]} == 0 && (directive & 4) == 0)); then compopt -o default 2>/dev/null; fi
}
complete -F __PROGRAM_complete PROGRAM
)sh";

constexpr std::string_view kZsh = R"sh(#compdef PROGRAM
compdef _PROGRAM PROGRAM

_PROGRAM() {
    local -a lines candidates
    local line name directive=0
    lines=("${(@f)$(${words[1]} __complete "${(@)words[2,CURRENT]}" 2>/dev/null)}")
    for line in "${lines[@]}"; do
        if [[ $line == :* ]]; then
            directive="${line#:}"
        elif [[ $line == *$'\t'* ]]; then
            name="${line%%$'\t'*}"
            candidates+=("${name//:/\\:}:${line#*$'\t'}")
        elif [[ -n $line ]]; then
            candidates+=("${line//:/\\:}")
        fi
    done
    if (( ${#candidates} > 0 )); then
        if [[ ${words[CURRENT]} == -*=* ]]; then compset -P '*='; fi
        _describe -V 'completions' candidates
    elif (( (directive & 4) == 0 )); then
        _files
    fi
}

if [ "$funcstack[1]" = "_PROGRAM" ]; then
    _PROGRAM
fi
)sh";

constexpr std::string_view kFish =
    R"sh(# fish completion for PROGRAM                              -*- shell-script -*-
function __PROGRAM_complete
    set -l words (commandline -opc)
    set -l current (commandline -ct)
    set -l lines ($words[1] __complete $words[2..-1] "$current" 2>/dev/null)
    set -l prefix ""
    if string match -q -- '-*=*' "$current"
        set prefix (string replace -r '=.*' '=' -- "$current")
    end
    for line in $lines
        if string match -q ':*' -- $line
            set -l directive (string sub -s 2 -- $line)
            if test (count $lines) -eq 1; and test "$directive" = 0
                __fish_complete_path "$current"
            end
        else
            echo $prefix$line
        end
    end
end
complete -c PROGRAM -e
complete -c PROGRAM -f -a '(__PROGRAM_complete)'
)sh";

constexpr std::string_view kPowershell =
    R"sh(# powershell completion for PROGRAM                              -*- shell-script -*-
Register-ArgumentCompleter -Native -CommandName 'PROGRAM' -ScriptBlock {
    param($WordToComplete, $CommandAst, $CursorPosition)
    $Words = @($CommandAst.CommandElements | Where-Object { $_.Extent.EndOffset -lt $CursorPosition } |
        Select-Object -Skip 1 | ForEach-Object { $_.ToString() })
    $Last = if ($WordToComplete) { $WordToComplete } else { '""' }
    $Prefix = if ($WordToComplete -match '^(-.*=)') { $Matches[1] } else { '' }
    & $CommandAst.CommandElements[0].ToString() __complete @Words $Last 2>$null | ForEach-Object {
        if ($_ -notmatch '^:\d+$') {
            $Name, $Description = $_ -split "`t", 2
            if (-not $Description) { $Description = $Name }
            if ("$Prefix$Name" -like "$WordToComplete*") {
                [System.Management.Automation.CompletionResult]::new("$Prefix$Name", $Name, 'ParameterValue', $Description)
            }
        }
    }
}
)sh";

}  // namespace

std::string completion_script(std::string_view shell, std::string_view program) {
  constexpr std::string_view kName = "PROGRAM";
  const std::string_view text = shell == "bash"         ? kBash
                                : shell == "zsh"        ? kZsh
                                : shell == "fish"       ? kFish
                                : shell == "powershell" ? kPowershell
                                                        : "";
  std::string out;
  for (size_t at = 0; at < text.size();) {
    const size_t next = std::min(text.find(kName, at), text.size());
    out += text.substr(at, next - at);
    if (next < text.size()) out += program;
    at = next + kName.size();
  }
  return out;
}

}  // namespace quoin::cmd
