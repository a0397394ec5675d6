#!/usr/bin/env bash
# The story of trustd, played with the real programs: a daemon, a registry and a
# container engine that are thrown away at the end. Each step prints the command
# a user would type and what it really said; the script ends with 0 only if each
# step did what it says. Nothing is left running or lying about.
#
# As root (`sudo make demo`) with a docker engine of its own; otherwise with the
# engine you may use already; without any, the same story on files.
set -euo pipefail
cd "$(dirname "$0")/.."
checkout=$PWD
PATH="$PATH:/usr/local/sbin:/usr/sbin:/sbin"
. scripts/demo/stage.sh

# ---- what it needs, said before anything is changed --------------------------------------------
engine=none
if [ "$(id -u)" -eq 0 ]; then
  engine=own
  say "The story needs a docker engine, docker-registry, busybox, curl and a C compiler."
  say "What is missing of them is named and installed now, with apt."
  scripts/install_test_tools.sh --demo
elif docker info >/dev/null 2>&1 && command -v docker-registry curl busybox >/dev/null; then
  engine=shared
fi

say "Building trustd and trustctl (the first time takes some minutes)."
as_owner cargo build --locked --quiet -p trustd -p trustctl

# ---- a place of its own ------------------------------------------------------------------------
set_stage
start_daemon
if [ "$engine" = none ]; then
  . "$checkout/scripts/demo/files.sh"
  say "Left out: building, pushing, pulling and running an image. They need a container engine:"
  say "run 'sudo make demo' to see the whole story."
else
  start_registry
  [ "$engine" = shared ] || start_engine
  . "$checkout/scripts/demo/images.sh"
fi
say "Every step did what it says ($SECONDS s)."
