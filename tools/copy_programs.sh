#!/bin/bash
# copy_programs.sh FROM TO: the programs that were built, where they are not there yet or are others.
set -euo pipefail
mkdir -p "$2"
for p in etcd etcdctl etcdutl etcd-benchmark; do
  [ -e "$1/$p" ] || continue
  # A program that runs can't be written over; a new file takes its name.
  cmp -s "$1/$p" "$2/$p" || { cp "$1/$p" "$2/.$p.new" && mv "$2/.$p.new" "$2/$p"; }
done
