#!/usr/bin/env bash
# Builds the peer programs the tests hold us against: cosign 3, cosign 2.6, a
# registry with the referrers API, the token server of docker's registry, and
# kryoptic, a second PKCS#11 module. Each stands in tests/peers/NAME with exact
# versions (go.mod, go.sum; Cargo.toml, Cargo.lock) and is built once into a
# cache outside the checkout, keyed by a hash of those files, so that a second
# run costs nothing.
#
#   build_peers.sh             builds what is missing (about 10 minutes on two cores, once)
#   build_peers.sh NAME        builds this one, if it is missing
#   build_peers.sh path NAME   prints where NAME is or would be; builds nothing
#
# TRUSTD_PEERS_DIR names another cache (default: ~/.cache/trustd-peers).
set -euo pipefail
cd "$(dirname "$0")/../tests/peers"
cache="${TRUSTD_PEERS_DIR:-${XDG_CACHE_HOME:-${HOME:?HOME is not set}/.cache}/trustd-peers}"

# What each peer builds: folder → Go package, or the library that cargo makes.
declare -A packages=(
  [cosign2]=github.com/sigstore/cosign/v2/cmd/cosign
  [cosign3]=github.com/sigstore/cosign/v3/cmd/cosign
  [referrers]=.
  [tokens]=github.com/docker/distribution/contrib/token-server
)
declare -A libraries=(
  [kryoptic]=libkryoptic.so
)

place() {
  local name="$1" key
  key=$(cd "$name" && find . -path ./target -prune -o -type f \( -name 'go.*' -o -name '*.go' -o -name 'Cargo.*' -o -name '*.rs' \) -print0 |
    sort -z | xargs -0 sha256sum | sha256sum | cut -c1-16)
  printf '%s/%s-%s/%s' "$cache" "$name" "$key" "${libraries[$name]:-$name}"
}

build() {
  local name="$1" target
  target=$(place "$name")
  if [ -x "$target" ]; then
    printf '%s is there\n' "$name" >&2
    return
  fi
  if [ -n "${libraries[$name]:-}" ]; then build_library "$name" "$target"; else build_program "$name" "$target"; fi
}

# A PKCS#11 module, with the OpenSSL and SQLite it needs inside it.
build_library() {
  local name="$1" target="$2" tool work
  for tool in cargo:rustup.rs clang:'apt-get install clang libclang-dev' make:'apt-get install build-essential' perl:'apt-get install perl'; do
    command -v "${tool%%:*}" >/dev/null || {
      echo "missing: ${tool%%:*}, which building $name needs. Install it: ${tool#*:}" >&2
      exit 1
    }
  done
  printf 'building %s (%s)\n' "$name" "${libraries[$name]}" >&2
  mkdir -p "$(dirname "$target")"
  work="$(dirname "$target")/building.$$"
  (cd "$name" && env -u RUSTFLAGS -u CARGO_ENCODED_RUSTFLAGS cargo build --quiet --release --locked --target-dir "$work")
  mv "$work/release/${libraries[$name]}" "$target"
  rm -rf "$work"
}

build_program() {
  local name="$1" target="$2"
  command -v go >/dev/null || {
    echo "missing: go. The peer programs need Go 1.26 or newer: https://go.dev/dl/, then put its bin directory on PATH." >&2
    exit 1
  }
  printf 'building %s (%s)\n' "$name" "${packages[$name]}" >&2
  mkdir -p "$(dirname "$target")"
  # Built beside its place and renamed: an interrupted build leaves no half program.
  (cd "$name" && GOFLAGS='-mod=readonly -buildvcs=false' GOTOOLCHAIN=local CGO_ENABLED=0 \
    go build -trimpath -ldflags='-s -w' -o "$target.building.$$" "${packages[$name]}")
  mv "$target.building.$$" "$target"
}

if [ "${1:-}" = path ]; then
  [ -n "${packages[${2:-}]:-}${libraries[${2:-}]:-}" ] || { echo "no such peer: ${2:-}" >&2; exit 2; }
  place "$2"
  echo
  exit 0
fi
wanted=(referrers tokens cosign3 cosign2 kryoptic)
if [ $# -eq 1 ] && [ -n "${packages[$1]:-}${libraries[$1]:-}" ]; then
  wanted=("$1")
elif [ $# -ne 0 ]; then
  sed -n '2,13p' "$0" >&2
  exit 2
fi

mkdir -p "$cache"
# Two builds at once would only slow each other down.
exec 9>"$cache/lock"
flock 9
for name in "${wanted[@]}"; do
  build "$name"
done
