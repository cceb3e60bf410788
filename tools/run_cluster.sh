#!/bin/bash
# Runs three members on loopback until interrupted, with their data in <folder>/m1 to m3, and says what to type.
# Clients: 2379, 22379, 32379; members among themselves: 2380, 22380, 32380.
set -euo pipefail
folder=${1:-cluster.etcd}
mkdir -p "$folder"
cluster=m1=http://127.0.0.1:2380,m2=http://127.0.0.1:22380,m3=http://127.0.0.1:32380
pids=()
stop() {
  trap - INT TERM EXIT
  kill "${pids[@]}" 2>/dev/null || true
  wait
}
trap stop INT TERM EXIT
i=0
for port in 2379 22379 32379; do
  i=$((i + 1))
  peer=$((port + 1))
  bin/etcd --name "m$i" --data-dir "$folder/m$i" \
    --listen-client-urls "http://127.0.0.1:$port" --advertise-client-urls "http://127.0.0.1:$port" \
    --listen-peer-urls "http://127.0.0.1:$peer" --initial-advertise-peer-urls "http://127.0.0.1:$peer" \
    --initial-cluster "$cluster" --initial-cluster-token quoin-on-loopback \
    >"$folder/m$i.log" 2>&1 &
  pids+=($!)
done
cat <<TXT
Three members run: m1 (process ${pids[0]}), m2 (${pids[1]}), m3 (${pids[2]}); data and logs in ./$folder. Stop them
with Ctrl-C. In another terminal:
  export ENDPOINTS=127.0.0.1:2379,127.0.0.1:22379,127.0.0.1:32379
  etcdctl --endpoints \$ENDPOINTS endpoint status -w table
  etcdctl --endpoints \$ENDPOINTS put greeting hello
  kill -9 ${pids[0]}        # two of three go on
  etcdctl --endpoints \$ENDPOINTS get greeting
TXT
# The end of one member does not end the others.
for pid in "${pids[@]}"; do wait "$pid" || true; done
