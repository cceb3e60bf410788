#!/bin/bash
# Builds the Go programs of tests/go into the folder named, if Go is there and new enough and their modules can be
# had. Prints what is missing otherwise and succeeds: the tests that need them name themselves as skipped. Code
# that does not compile is an error.
set -euo pipefail
out=$1
mkdir -p "$out"
out=$(realpath "$out")
cd "$(dirname "$0")/go"
if ! command -v go >/dev/null; then
  echo "Go is not installed: comparisons with a real etcd 3.5, 3.6 and 3.7 will be skipped"
  exit 0
fi
export GOFLAGS=-mod=mod GOTOOLCHAIN=local
for module in */; do
  module=${module%/}
  need=$(sed -n 's/^go //p' "$module/go.mod")
  have=$(go env GOVERSION | sed 's/^go//')
  if [ "$(printf '%s\n%s\n' "$need" "$have" | sort -V | head -n 1)" != "$need" ]; then
    echo "Go $have is older than the $need that tests/go/$module needs: its tests will be skipped"
    continue
  fi
  case $module in
    v35) name=etcd-3.5 ;; v36) name=oracle-3.6 ;; v37) name=etcd-3.7 ;; *) name=$module ;;
  esac
  if ! (cd "$module" && go list -deps . >/dev/null); then
    echo "the modules of tests/go/$module can't be fetched: its tests will be skipped"
    continue
  fi
  (cd "$module" && nice go build -o "$out/$name" .)
done
