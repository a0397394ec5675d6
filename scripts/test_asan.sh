#!/usr/bin/env bash
# The batch verifier, whose vector instructions are the only `unsafe` of the crate `trust`, under AddressSanitizer: its
# unit tests, every path against `verify_strict`, and the vectors of third parties. Before them a test that reads out of
# bounds on purpose has to be found, for else the silence about the others would say nothing.
#
#   test_asan.sh     builds below target/asan (some minutes, once) and runs them
#
# The sanitizer is part of Rust's toolchains for x86-64 Linux, behind a flag that a stable compiler takes with
# RUSTC_BOOTSTRAP=1. Nothing that is installed is built so.
set -euo pipefail
cd "$(dirname "$0")/.."

target=x86_64-unknown-linux-gnu
host=$(rustc -vV | sed -n 's/^host: //p')
if [ "$host" != "$target" ]; then
  printf 'test_asan.sh tests vector code of %s; this is %s\n' "$target" "$host" >&2
  exit 1
fi
runtime="$(rustc --print target-libdir)/librustc-stable_rt.asan.a"
if [ ! -e "$runtime" ] && [ ! -e "${runtime/-stable_/-nightly_}" ]; then
  printf 'missing: %s, which this toolchain has not. Install Rust from https://rustup.rs\n' "$runtime" >&2
  exit 1
fi

export RUSTC_BOOTSTRAP=1 CARGO_TARGET_DIR="${CARGO_TARGET_DIR:-target}/asan"
unset RUSTFLAGS CARGO_ENCODED_RUSTFLAGS # they would take the place of ours

tests() {
  # Added to the flags in .cargo/config.toml. A named target keeps build scripts and macros out of it.
  cargo test --config 'build.rustflags=["-Zsanitizer=address"]' --target "$target" --package trust --locked "$@"
}

tests --no-run --lib --test batch --test batch_paths --test vectors

log=$(mktemp)
trap 'rm -f "$log"' EXIT
if tests --lib -- --ignored --exact verify::batch::avx2::tests::a_read_out_of_bounds_is_found >"$log" 2>&1 ||
  ! grep -q 'AddressSanitizer: heap-buffer-overflow' "$log"; then
  cat "$log" >&2
  printf '\nA read out of bounds was not found: this build has no AddressSanitizer, or the processor no AVX2.\n' >&2
  exit 1
fi
printf 'found, as it has to be: '
grep -m 1 -o 'AddressSanitizer: heap-buffer-overflow.*' "$log" | cut -c 1-80

tests --lib -- verify::batch
tests --test batch_paths -- --nocapture
# Of random items `make test` tries many; they are slow here, and each goes the way of all others.
tests --test batch -- --skip random_items
tests --test vectors
