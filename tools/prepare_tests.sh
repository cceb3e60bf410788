#!/bin/bash
# Builds the Go programs the tests compare with (a real etcd, its tools, clients), where Go is new enough for
# tests/go/go.mod. Without it the tests that need them name themselves as skipped.
set -euo pipefail
build=$(realpath "$1")
cd "$(dirname "$0")/../tests"
[ -x build_go.sh ] || exit 0
./build_go.sh "$build/oracle"
