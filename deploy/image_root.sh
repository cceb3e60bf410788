#!/bin/bash
# image_root.sh ROOT [PROGRAM...]: fills ROOT with what a container of Quoin needs: the programs (those in /usr/bin), the
# libraries they name, the certificates of public authorities, a user without rights (65532), and its data directory.
set -euo pipefail
root=$1
shift
programs=("$@")
if [ ${#programs[@]} -eq 0 ]; then
  for p in etcd etcdctl etcdutl etcd-benchmark; do
    [ -x "/usr/bin/$p" ] && programs+=("/usr/bin/$p")
  done
fi
install -d "$root/usr/bin" "$root/etc" "$root/lib64"
install -d -m 1777 "$root/tmp"
install -d -m 0700 -o 65532 -g 65532 "$root/var/lib/etcd"
for p in "${programs[@]}"; do
  install -m 0755 "$p" "$root/usr/bin/"
  # "libz.so.1 => /lib/... (0x...)", and the loader, which stands alone.
  ldd "$p" | awk '$2 == "=>" {print $3} $1 ~ /^\// {print $1}' | while read -r library; do
    [ -e "$root$library" ] || install -D -m 0755 "$(readlink -f "$library")" "$root$library"
  done
done
echo 'etcd:x:65532:65532::/var/lib/etcd:/' >"$root/etc/passwd"
echo 'etcd:x:65532:' >"$root/etc/group"
printf '127.0.0.1 localhost\n::1 localhost\n' >"$root/etc/hosts"  # the container's own stands over it
echo 'hosts: files dns' >"$root/etc/nsswitch.conf"
if [ -e /etc/ssl/certs/ca-certificates.crt ]; then
  install -D -m 0644 /etc/ssl/certs/ca-certificates.crt "$root/etc/ssl/certs/ca-certificates.crt"
fi
