#!/usr/bin/env bash
# Installs trustd and trustctl: programs, systemd unit, sample configuration and
# policy, completions, man pages, documents. A configuration file that is there
# is never overwritten: the new one is put beside it as FILE.new.
#
#   install.sh [DESTDIR [PREFIX]]     (make install DESTDIR=… PREFIX=…; PREFIX is /usr/local)
#
# BINARIES names the directory of the built programs (target/release).
set -euo pipefail
cd "$(dirname "$0")/.."
destdir="${1:-}"
prefix="${2:-/usr/local}"
binaries="${BINARIES:-${CARGO_TARGET_DIR:-target}/release}"

case "$prefix" in /*) ;; *) echo "PREFIX is not absolute: $prefix" >&2; exit 2 ;; esac
if [ ! -x "$binaries/trustd" ] || [ ! -x "$binaries/trustctl" ]; then
  command -v cargo >/dev/null || {
    echo "not built: $binaries/trustd. Build it first: cargo build --release --locked --bins (Rust: https://rustup.rs)" >&2
    exit 1
  }
  cargo build --release --locked -p trustd -p trustctl
fi

# put MODE SOURCE TARGET
put() { install -D -m "$1" "$2" "$destdir$3"; }
put_configuration() {
  if [ -e "$destdir$3" ] && ! cmp -s "$2" "$destdir$3"; then
    put "$1" "$2" "$3.new"
    echo "kept $3; the sample is $3.new"
  else
    put "$1" "$2" "$3"
  fi
}
generated=$(mktemp -d)
trap 'rm -rf "$generated"' EXIT

put 755 "$binaries/trustd" "$prefix/bin/trustd"
put 755 "$binaries/trustctl" "$prefix/bin/trustctl"

sed "s#@PREFIX@#$prefix#g" packaging/trustd.service >"$generated/trustd.service"
put 644 "$generated/trustd.service" "$prefix/lib/systemd/system/trustd.service"
put 644 packaging/sysusers.conf "$prefix/lib/sysusers.d/trustd.conf"

put_configuration 644 packaging/trustd.toml /etc/trustd/trustd.toml
put_configuration 644 packaging/policy.cedar /etc/trustd/policy.cedar
put_configuration 644 packaging/trustctl.toml /etc/trustctl/config.toml

for program in trustd trustctl; do
  "$binaries/$program" completions bash >"$generated/$program.bash"
  "$binaries/$program" completions zsh >"$generated/_$program"
  "$binaries/$program" completions fish >"$generated/$program.fish"
  put 644 "$generated/$program.bash" "$prefix/share/bash-completion/completions/$program"
  put 644 "$generated/_$program" "$prefix/share/zsh/site-functions/_$program"
  put 644 "$generated/$program.fish" "$prefix/share/fish/vendor_completions.d/$program.fish"
  mkdir "$generated/man-$program"
  "$binaries/$program" man "$generated/man-$program"
  for page in "$generated/man-$program"/*.1; do
    put 644 "$page" "$prefix/share/man/man1/$(basename "$page")"
  done
done

for document in README.md CHANGELOG.md LICENSE docs/*.md; do
  put 644 "$document" "$prefix/share/doc/trustd/$(basename "$document")"
done

if [ -z "$destdir" ]; then
  # The unit's StateDirectory is there only once the unit has run, and `trustd init` comes before that.
  if getent passwd trustd >/dev/null && [ ! -e /var/lib/trustd ]; then
    install -d -o trustd -g trustd -m 700 /var/lib/trustd
  fi
  cat <<EOF
Installed below $prefix. What is left to do, as root:
  systemd-sysusers                     makes the user and group trustd
  systemctl daemon-reload
  install -d -o trustd -g trustd -m 700 /var/lib/trustd
  runuser -u trustd -- $prefix/bin/trustd init --config /etc/trustd/trustd.toml   (docs/operations.md says what it makes)
  systemctl enable --now trustd
  adduser NAME trustd                  lets a person open the socket
EOF
fi
