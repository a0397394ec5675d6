#!/usr/bin/env bash
# Builds trustd_VERSION_ARCH.deb with dpkg-deb alone, in OUTPUT (target).
set -euo pipefail
cd "$(dirname "$0")/.."
command -v dpkg-deb >/dev/null || { echo "missing: dpkg-deb. A Debian package is built on Debian: apt-get install dpkg" >&2; exit 1; }
command -v strip >/dev/null || { echo "missing: strip. Install it: apt-get install binutils" >&2; exit 1; }

version=$(sed -n '/^\[workspace.package\]/,/^\[/s/^version = "\(.*\)"/\1/p' Cargo.toml)
architecture=$(dpkg --print-architecture)
stage=$(mktemp -d)
trap 'rm -rf "$stage"' EXIT
chmod 755 "$stage"

scripts/install.sh "$stage" /usr
# Symbols are no use without their source, and most of the size.
strip --strip-unneeded "$stage"/usr/bin/*
# dpkg asks its own questions about changed configuration; this marks the files for it.
mkdir "$stage/DEBIAN"
(cd "$stage" && find etc -type f -printf '/%p\n' | sort) >"$stage/DEBIAN/conffiles"
gzip -9 -n "$stage"/usr/share/man/man1/*.1
# The newest symbol version of glibc that the programs ask for.
libc=$(cat "$stage"/usr/bin/* | LC_ALL=C grep -aoE 'GLIBC_2\.[0-9]+' | sort -uV | tail -n 1 | cut -d_ -f2)
cat >"$stage/DEBIAN/control" <<EOF
Package: trustd
Version: $version
Architecture: $architecture
Maintainer: The trustd authors <trustd@localhost>
Depends: libc6 (>= $libc), libgcc-s1, adduser
Suggests: docker.io | podman
Section: admin
Priority: optional
Installed-Size: $(du -sk --exclude=DEBIAN "$stage" | cut -f1)
Description: key custody and content trust
 trustd keeps signing keys and signs container images and release files for
 those whom its policy allows, after writing down that it will. trustctl pushes
 and signs, and pulls only what verifies.
EOF
cat >"$stage/DEBIAN/postinst" <<'EOF'
#!/bin/sh
set -e
if [ "$1" = configure ]; then
  getent passwd trustd >/dev/null || adduser --system --group --home /var/lib/trustd --no-create-home --quiet trustd
  # The unit's StateDirectory is there only once the unit has run, and `trustd init` comes before that.
  [ -e /var/lib/trustd ] || install -d -o trustd -g trustd -m 700 /var/lib/trustd
  [ ! -d /run/systemd/system ] || systemctl daemon-reload
fi
EOF
cat >"$stage/DEBIAN/prerm" <<'EOF'
#!/bin/sh
set -e
if [ "$1" = remove ] && [ -d /run/systemd/system ]; then
  systemctl --no-reload disable --now trustd.service
fi
EOF
chmod 755 "$stage/DEBIAN/postinst" "$stage/DEBIAN/prerm"
output="${OUTPUT:-target}"
mkdir -p "$output"
dpkg-deb --root-owner-group -Zxz -z1 --build "$stage" "$output/trustd_${version}_${architecture}.deb"
