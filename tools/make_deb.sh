#!/bin/bash
# make_deb.sh BIN OUT: OUT/quoin.deb of the programs in BIN, with unit, configuration, manual pages and completions.
set -euo pipefail
bin=$(realpath "$1")
out=$2
cd "$(dirname "$0")/.."
version() { sed -n "s/.* $1 = \"\\(.*\\)\";/\\1/p" src/base/version.h; }
mkdir -p "$out"
out=$(realpath "$out")
root=$out/root
rm -rf "$root" "$out/debian"
install -d "$root/DEBIAN" "$root/usr/bin" "$root/usr/share/man/man1" "$root/usr/share/doc/quoin"

programs=()
for p in etcd etcdctl etcdutl etcd-benchmark; do
  [ -x "$bin/$p" ] || continue
  programs+=("$root/usr/bin/$p")
  install -m 0755 "$bin/$p" "$root/usr/bin/$p"
  strip --strip-unneeded "$root/usr/bin/$p"
  python3 tools/make_man.py "$root/usr/bin/$p" | gzip -9n >"$root/usr/share/man/man1/$p.1.gz"
done
# Where each shell looks for the completions that packages bring.
complete() {
  [ -x "$root/usr/bin/$1" ] || return 0
  "$root/usr/bin/$1" completion bash | install -D -m 0644 /dev/stdin "$root/usr/share/bash-completion/completions/$1"
  "$root/usr/bin/$1" completion zsh | install -D -m 0644 /dev/stdin "$root/usr/share/zsh/vendor-completions/_$1"
  "$root/usr/bin/$1" completion fish | install -D -m 0644 /dev/stdin "$root/usr/share/fish/vendor_completions.d/$1.fish"
}
complete etcdctl
complete etcdutl
install -D -m 0644 deploy/etcd.service "$root/lib/systemd/system/etcd.service"
install -D -m 0644 deploy/etcd.default "$root/usr/share/quoin/etcd.default"
install -m 0644 README.md "$root/usr/share/doc/quoin/README.md"

# The libraries by the packages that hold them; dpkg-shlibdeps wants a source package's folder.
mkdir -p "$out/debian"
printf 'Source: quoin\n\nPackage: quoin\nArchitecture: any\n' >"$out/debian/control"
depends=$(cd "$out" && dpkg-shlibdeps -O "${programs[@]}" 2>/dev/null | sed -n 's/^shlibs:Depends=//p')
[ -n "$depends" ] || { echo "make_deb.sh: no package holds the libraries of the programs" >&2; exit 1; }
sed -e "s/@VERSION@/$(version kQuoinVersion)/g" -e "s/@ETCD_VERSION@/$(version kEtcdVersion)/g" \
  -e "s/@ARCHITECTURE@/$(dpkg --print-architecture)/" -e "s/@DEPENDS@/$depends/" \
  -e "s/@SIZE@/$(du -sk "$root/usr" | cut -f1)/" deploy/deb/control >"$root/DEBIAN/control"
for script in postinst prerm postrm; do
  install -m 0755 "deploy/deb/$script" "$root/DEBIAN/$script"
done
(cd "$root" && find usr lib -type f -print0 | sort -z | xargs -0 md5sum) >"$root/DEBIAN/md5sums"
chmod -R u=rwX,go=rX "$root"
dpkg-deb --root-owner-group --build "$root" "$out/quoin.deb" >/dev/null
rm -rf "$root" "$out/debian"
echo "$out/quoin.deb"
