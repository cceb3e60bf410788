#!/bin/bash
# Runs every libFuzzer target of a build for some seconds; new inputs stay in the build folder.
set -euo pipefail
build=$1 seconds=$2
cd "$(dirname "$0")/.."
for target in $(find "$build/src" -type f -name '*_fuzz' -perm -u+x | sort); do
  name=$(basename "$target")
  module=$(basename "$(dirname "$target")")
  mkdir -p "$build/found/$name"
  echo "== $name"
  "$target" -max_total_time="$seconds" -timeout=10 -rss_limit_mb=2048 -print_final_stats=0 -verbosity=0 \
    -artifact_prefix="$build/found/$name-" "$build/found/$name" "src/$module/corpus/$name"
done
