#!/bin/bash
# Runs one member with its data in the folder named, and says what to type next.
set -euo pipefail
data=${1:-default.etcd}
cat <<TXT
Starting etcd (Quoin) on http://127.0.0.1:2379, data in ./$data. Stop it with Ctrl-C.
In another terminal:
  etcdctl put greeting hello
  etcdctl get greeting
  etcdctl watch --prefix ''
  curl http://127.0.0.1:2379/health
TXT
exec bin/etcd --name default --data-dir "$data" \
  --listen-client-urls http://127.0.0.1:2379 --advertise-client-urls http://127.0.0.1:2379
