#!/usr/bin/env bash
# Builds what `make bench` measures beside itself on processors with AVX-512 IFMA, and prints the arguments that say so:
#   the runner with curve25519-dalek as it is by default (everything else here is built with its AVX-512 code), and
#   the runner for AVX-512 alone, which has ed25519-simd.
# Elsewhere it builds and prints nothing: both builds of dalek would do the same, and ed25519-simd would not run.
#
#   build_beside.sh --default   the first one alone, on any processor, to try how it is asked
set -euo pipefail
cd "$(dirname "$0")/.."

directory="${CARGO_TARGET_DIR:-target}/beside"
# RUSTFLAGS takes the place of the flags in .cargo/config.toml, so what of those is to stay is named again.
kept='--cfg=poly1305_backend="soft"'
only_avx512='-Ctarget-feature=+avx512f,+avx512bw,+avx512dq,+avx512vl,+avx512ifma'

build() {
  RUSTFLAGS="$2" cargo build --release --locked --package trust-bench --bin trust-bench --features peers \
    --target-dir "$directory/$1" >&2
  printf -- '--beside %s\n' "$directory/$1/release/trust-bench"
}

has() {
  local flag
  for flag in "$@"; do
    grep -qw "$flag" /proc/cpuinfo || return 1
  done
}

if [[ ${1:-} == --default ]]; then
  build default "$kept"
elif has avx512f avx512bw avx512dq avx512vl avx512ifma; then
  build default "$kept"
  build avx512-alone "$kept --cfg=curve25519_dalek_backend=\"avx512\" $only_avx512"
fi
