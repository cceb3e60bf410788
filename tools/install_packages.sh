#!/bin/bash
# Installs the Debian 12 packages of the build and its tests, and those named as arguments, if any is missing. As
# root, or through sudo.
set -euo pipefail
packages=(
  g++ cmake ninja-build ccache python3 git
  libprotobuf-dev libprotoc-dev protobuf-compiler libnghttp2-dev libboost1.81-dev libuv1-dev libc-ares-dev
  libssl-dev libcrypt-dev libyaml-cpp-dev nlohmann-json3-dev libfmt-dev libabsl-dev libisal-dev zlib1g-dev libzstd-dev libexpected-dev
  libgrpc++-dev protobuf-compiler-grpc
  libgtest-dev libgmock-dev libbenchmark-dev libjemalloc-dev
  # for tests and checks
  etcd-server etcd-client python3-etcd3 clang-format-14 dpkg-dev
  "$@"
)
missing=()
for p in "${packages[@]}"; do
  [ "$(dpkg-query -W -f='${db:Status-Status}' "$p" 2>/dev/null)" = installed ] || missing+=("$p")
done
[ ${#missing[@]} -eq 0 ] && exit 0
echo "installing: ${missing[*]}"
sudo=""
[ "$(id -u)" = 0 ] || sudo=sudo
export DEBIAN_FRONTEND=noninteractive
$sudo apt-get update -q >/dev/null
# etcd-server would start a member of its own on 2379; the policy keeps services from starting at install.
policy=/usr/sbin/policy-rc.d
if [ ! -e $policy ]; then
  printf '#!/bin/sh\nexit 101\n' | $sudo tee $policy >/dev/null && $sudo chmod +x $policy
  trap "$sudo rm -f $policy" EXIT
fi
$sudo apt-get install -y -q --no-install-recommends "${missing[@]}" >/dev/null
