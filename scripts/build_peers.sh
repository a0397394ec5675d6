#!/usr/bin/env bash
# Builds the peer programs the tests hold us against: cosign 3, cosign 2.6 and a
# registry with the referrers API. Each stands in tests/peers/NAME with exact
# versions (go.mod, go.sum) and is built once into a cache outside the checkout,
# keyed by a hash of those files, so that a second run costs nothing.
#
#   build_peers.sh             builds what is missing (cosign: about 7 minutes on two cores, once)
#   build_peers.sh path NAME   prints where NAME is or would be; builds nothing
#
# TRUSTD_PEERS_DIR names another cache (default: ~/.cache/trustd-peers).
set -euo pipefail
cd "$(dirname "$0")/../tests/peers"
cache="${TRUSTD_PEERS_DIR:-${XDG_CACHE_HOME:-${HOME:?HOME is not set}/.cache}/trustd-peers}"

# What each peer builds: folder → Go package.
declare -A packages=(
  [cosign2]=github.com/sigstore/cosign/v2/cmd/cosign
  [cosign3]=github.com/sigstore/cosign/v3/cmd/cosign
  [referrers]=.
)

place() {
  local name="$1" key
  key=$(cd "$name" && find . -type f \( -name 'go.*' -o -name '*.go' \) -print0 | sort -z | xargs -0 sha256sum | sha256sum | cut -c1-16)
  printf '%s/%s-%s/%s' "$cache" "$name" "$key" "$name"
}

build() {
  local name="$1" target
  target=$(place "$name")
  if [ -x "$target" ]; then
    printf '%s is there\n' "$name" >&2
    return
  fi
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
  [ -n "${packages[${2:-}]:-}" ] || { echo "no such peer: ${2:-}" >&2; exit 2; }
  place "$2"
  echo
  exit 0
fi
[ $# -eq 0 ] || { sed -n '2,10p' "$0" >&2; exit 2; }

mkdir -p "$cache"
# Two builds of cosign at once would only slow each other down.
exec 9>"$cache/lock"
flock 9
for name in referrers cosign3 cosign2; do
  build "$name"
done
