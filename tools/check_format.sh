#!/bin/bash
# Lists the sources that clang-format would change; fails if there are any.
set -euo pipefail
cd "$(dirname "$0")/.."
bad=$(git ls-files 'src/*.cc' 'src/*.h' 'scenarios/*.cc' 'tools/*.cc' | xargs clang-format-14 --dry-run 2>&1 |
  sed -nE 's/^([^:]+):[0-9]+:.*clang-format-violations.*/\1/p' | sort -u)
[ -z "$bad" ] && exit 0
printf 'not formatted (clang-format-14 -i):\n%s\n' "$bad"
exit 1
