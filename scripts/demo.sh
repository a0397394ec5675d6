#!/usr/bin/env bash
# The story of trustd, played with the real programs: a daemon, a registry and a
# container engine that are thrown away at the end. Each step prints the command
# a user would type and what it really said; the script ends with 0 only if each
# step did what it says. Nothing is left running or lying about.
#
# As root (`sudo make demo`) with a docker engine of its own; otherwise with the
# engine you may use already; without any, the same story on files.
#
#   demo.sh        keys in the daemon's own custody
#   demo.sh --hsm  keys in a PKCS#11 token (SoftHSM), which they never leave
set -euo pipefail
case "${1:-}" in
  '') hsm= ;;
  --hsm) hsm=yes ;;
  *) sed -n '2,12p' "$0" >&2; exit 2 ;;
esac
cd "$(dirname "$0")/.."
checkout=$PWD
PATH="$PATH:/usr/local/sbin:/usr/sbin:/sbin"
. scripts/demo/stage.sh

# ---- what it needs, said before anything is changed --------------------------------------------
engine=none
if [ "$(id -u)" -eq 0 ]; then
  engine=own
  say "The story needs a docker engine, docker-registry, busybox, curl and a C compiler${hsm:+,}"
  [ -z "$hsm" ] || say "and of the token's world SoftHSM, OpenSC, minisign, OpenSSH and openssl."
  say "What is missing of them is named and installed now, with apt."
  scripts/install_test_tools.sh "--demo${hsm:+-hsm}"
elif docker info >/dev/null 2>&1 && has docker-registry curl busybox; then
  engine=shared
fi
if [ -n "$hsm" ] && [ "$engine" != own ]; then
  scripts/install_test_tools.sh --demo-hsm-files
fi

say "Building trustd and trustctl (the first time takes some minutes)."
as_owner cargo build --locked --quiet -p trustd -p trustctl

# ---- a place of its own ------------------------------------------------------------------------
set_stage
if [ -n "$hsm" ]; then
  . "$checkout/scripts/demo/token.sh"
  make_token
fi
start_daemon
if [ "$engine" != none ]; then
  start_registry
  [ "$engine" = shared ] || start_engine
  . "$checkout/scripts/demo/images.sh"
  signed_image
fi
if [ -n "$hsm" ]; then
  release_from_token
elif [ "$engine" = none ]; then
  . "$checkout/scripts/demo/files.sh"
else
  refused_images
fi
shows_log
if [ "$engine" = none ]; then
  say "Left out: building, pushing, pulling and running an image. They need a container engine:"
  say "run 'sudo make demo${hsm:+-hsm}' to see the whole story."
fi
say "Every step did what it says ($SECONDS s)."
