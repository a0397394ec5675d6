#!/usr/bin/env bash
# The vector code for AVX-512 IFMA on a machine that has not these instructions:
# an emulated processor that has them (bochs) runs the tests of the batch
# verifier, without an operating system. Exit code 0: the path of IFMA was there
# and believed, and every verdict was right.
#
#   test_emulated.sh [TEST...]   all, or after the test of the path itself some of: vectors batch unit
#
# bochs comes from Debian with apt and is unpacked below a temporary directory:
# nothing is installed, and no root is needed. An emulator cannot say how fast
# the instructions are.
set -euo pipefail
case " $* " in *" -"*) sed -n '2,12p' "$0" >&2; exit 2 ;; esac
[ $# -gt 0 ] || set -- vectors batch unit
cd "$(dirname "$0")/.."
checkout=$PWD
vectors=$checkout/../shared/vectors
files=(wycheproof/ed25519_test.json cctv-ed25519/ed25519vectors.json ed25519-speccheck/cases.json)
model=tigerlake

fail() { printf '%s\n  %s\n' "$1" "$2" >&2; exit 1; }

# Without these that test has no cases, and would say that all is well.
case " $* " in *" vectors "*)
  for path in "${files[@]}"; do
    [ -e "$vectors/$path" ] || fail "The vectors are not here: $vectors/$path" "Leave them out: $0 batch unit"
  done ;;
esac
[ "$(uname -m)" = x86_64 ] || fail "It runs tests built for x86_64; this is $(uname -m)." "Run it on another machine."
for tool in apt-get cargo dpkg gcc ld script strip; do
  command -v "$tool" >/dev/null || fail "missing: $tool" "It needs Debian 12 and Rust."
done

# ---- the emulator --------------------------------------------------------------------------------
stage=$(mktemp -d "${TMPDIR:-/tmp}/trustd-emulated.XXXXXX")
emulator=
ended() {
  [ -z "$emulator" ] || kill -9 "$emulator" 2>/dev/null || true # it does not end by less
  rm -rf "$stage"
}
trap ended EXIT
trap 'exit 130' INT
trap 'exit 143' TERM
root=$stage/root
mkdir -p "$stage/archives/partial" "$root"
if [ "$(id -u)" -eq 0 ] && ! apt-cache show bochs >/dev/null 2>&1; then apt-get update -qq; fi
# These, and what they need that is not here. Those that are installed already are downloaded all the same.
apt=(apt-get -o Debug::NoLocking=1 -o "Dir::Cache::archives=$stage/archives/" -o APT::Sandbox::User=root -qq --yes)
"${apt[@]}" --no-install-recommends --download-only install bochs bochs-term >/dev/null ||
  fail "apt has no bochs." "apt-get update"
(cd "$stage/archives" && "${apt[@]}" download bochs bochs-term bochsbios vgabios >/dev/null)
for archive in "$stage"/archives/*.deb; do dpkg -x "$archive" "$root"; done
export LD_LIBRARY_PATH="$root/usr/lib/x86_64-linux-gnu" LTDL_LIBRARY_PATH="$root/usr/lib/x86_64-linux-gnu/bochs/plugins"
export BXSHARE=$root/usr/share/bochs
models=$("$root/usr/bin/bochs-bin" -help cpu 2>&1 || true)
grep -qx "$model" <<<"$models" || fail "This bochs has no $model, a processor with AVX-512 IFMA." "Debian 12 has 2.7."

# In place of a BIOS and of an operating system.
gcc -c -o "$stage/boot.o" scripts/emulated/boot.S
ld -Ttext=0xffff0000 -e 0 --oformat binary -o "$stage/boot" "$stage/boot.o"
gcc -c -o "$stage/shim.o" -O2 -Wall -Wextra -Werror -ffreestanding -mgeneral-regs-only -fno-pic -fno-stack-protector \
  -fno-asynchronous-unwind-tables -fno-toplevel-reorder -fno-tree-loop-distribute-patterns -fcf-protection=none \
  scripts/emulated/shim.c
ld -Ttext=0x100000 -e 0x100000 --oformat binary -o "$stage/shim" "$stage/shim.o"

# ---- the tests -----------------------------------------------------------------------------------
# runs WHAT ARGUMENT...: a target of crate trust, linked statically, on the emulated processor.
runs() {
  local target=$1 program path shown=0
  shift
  printf '\n── %s %s\n' "$target" "$*"
  # shellcheck disable=SC2086 # two words
  program=$(env -u LD_LIBRARY_PATH cargo rustc --locked --package trust --profile test $target --message-format json-render-diagnostics \
    -- -C target-feature=+crt-static -C relocation-model=static | sed -n 's/.*"executable":"\([^"]*\)".*/\1/p' | tail -n 1)
  [ -n "$program" ] || fail "cargo built no program for $target." "Its reason stands above."
  rm -rf "$stage/disk" && mkdir "$stage/disk"
  strip -o "$stage/disk/program" "$program"
  printf '%s\n' program "$@" '' TRUSTD_TEST_PATH=ifma RUST_TEST_THREADS=1 >"$stage/disk/words"
  # Tests read seeds there, one after the other.
  mkdir "$stage/disk/dev" && head -c 1048576 /dev/urandom | tee "$stage/disk/dev/random" >"$stage/disk/dev/urandom"
  tar -cf "$stage/tar" --format ustar -C "$stage/disk" words program dev/random dev/urandom
  for path in "${files[@]}"; do
    [ "$target" != "--test vectors" ] || tar -rf "$stage/tar" --format ustar -C "$vectors" "$path"
  done
  cat >"$stage/bochsrc" <<END
config_interface: textconfig
display_library: term
cpu: model=$model, count=1, ips=100000000, reset_on_triple_fault=0
memory: guest=1024, host=1024
romimage: file=$stage/boot
vgaromimage: file=$BXSHARE/VGABIOS-lgpl-latest
optramimage1: file=$stage/shim, address=0x100000
optramimage2: file=$stage/tar, address=0x8000000
port_e9_hack: enabled=1
clock: sync=none
log: $stage/log
panic: action=fatal
error: action=ignore
info: action=ignore
END
  printf 'c\n' >"$stage/debugger" # Debian's has one, which waits for the word to go on
  printf 'echo $$ >%s/pid\nTERM=xterm exec %s/usr/bin/bochs-bin -q -f %s/bochsrc -rc %s/debugger\n' \
    "$stage" "$root" "$stage" "$stage" >"$stage/start"
  : >"$stage/screen"
  # It wants a terminal; what the program writes comes after the first instruction that it shows.
  script --quiet --flush --command "sh $stage/start" "$stage/screen" </dev/null >/dev/null &
  local waiter=$! lines
  while :; do
    [ ! -s "$stage/pid" ] || emulator=$(cat "$stage/pid")
    local over=0
    kill -0 "$waiter" 2>/dev/null || over=1
    tr -d '\r' <"$stage/screen" | sed -e '1,/ f000:fff0 /d' -e '/^=====/,$d' >"$stage/said"
    lines=$(wc -l <"$stage/said")
    [ "$lines" -le "$shown" ] || sed -n "$((shown + 1)),${lines}p" "$stage/said"
    shown=$lines
    [ "$over" -eq 0 ] || break
    sleep 1
  done
  wait "$waiter" || true
  emulator=
  rm -f "$stage/pid"
  if ! grep -qx 'exit code 0' "$stage/said" || ! grep -Eq '^test result: ok\. [1-9][0-9]* passed' "$stage/said"; then
    tail -n 20 "$stage/screen" >&2
    fail "It did not pass: $target $*" "What the emulator said stands above."
  fi
}

# Fails where the path is not there: the unit tests pass it over then.
runs '--test batch_paths' --nocapture
for test in "$@"; do
  case "$test" in
    vectors) runs '--test vectors' wycheproof_beside cctv speccheck --nocapture ;;
    batch) runs '--test batch' --skip random_items ;;
    unit) runs --lib verify::batch ;;
    *) fail "There is no test $test." "There are: vectors batch unit" ;;
  esac
done
printf '\nEvery verdict was right on the path of AVX-512 IFMA (%s s).\n' "$SECONDS"
