#!/usr/bin/env bash
# Keys in a TPM: a daemon whose token is tpm2-pkcs11 over a software TPM, both
# thrown away at the end. What every token has to do is judged; what a TPM may
# lack is tried, and what it said is shown. docs/hsm.md tells what was seen.
#
#   try_tpm.sh     as root it installs what is missing; it changes nothing else
#
# The way to the TPM is the one of a real machine: module, tpm2-abrmd, TPM. Only
# the TPM is a program (swtpm), and the bus is one of its own.
set -euo pipefail
[ $# -eq 0 ] || { sed -n '2,10p' "$0" >&2; exit 2; }
cd "$(dirname "$0")/.."
# shellcheck disable=SC2034 # checkout and engine are for the stage
checkout=$PWD engine=none
PATH="$PATH:/usr/local/sbin:/usr/sbin:/sbin"
. scripts/demo/stage.sh

say "It needs swtpm, tpm2-abrmd, tpm2-pkcs11, dbus-daemon, OpenSC and openssl. What is missing is named and installed now, with apt."
scripts/install_test_tools.sh --try-tpm
module=$(find /usr/lib /usr/lib64 -name 'libtpm2_pkcs11.so.1' -print -quit 2>/dev/null)
[ -n "$module" ] || fail "libtpm2_pkcs11.so.1 is not there: apt-get install libtpm2-pkcs11-1"

say "Building trustd and trustctl (the first time takes some minutes)."
as_owner cargo build --locked --quiet -p trustd -p trustctl
set_stage

fail() {
  printf '\n%sThe trial failed: %s%s\n' "$bold" "$*" "$plain" >&2
  [ ! -s "$stage/trustd.log" ] || { say "The end of the daemon's log:"; tail -n 20 "$stage/trustd.log"; } >&2
  exit 1
}

# tried COMMAND: what a TPM may lack. Shown, and never judged.
tried() {
  local code=0
  printf '%s$ %s%s\n' "$bold" "$1" "$plain"
  last=$(bash -o pipefail -c "$1" 2>&1) || code=$?
  [ -z "$last" ] || printf '%s\n' "$last" | sed 's/^/  /'
  say "  (exit code $code)"
  return "$code"
}

# ---- a TPM, its resource manager, and a token in it ----------------------------------------------
step "A software TPM behind tpm2-abrmd"
mkdir "$stage/tpm" "$stage/store"
starts swtpm swtpm socket --tpm2 --tpmstate "dir=$stage/tpm" --flags not-need-init,startup-clear \
  --server "type=unixio,path=$stage/tpm.sock" --ctrl "type=unixio,path=$stage/tpm.sock.ctrl"
ready swtpm test -S "$stage/tpm.sock"
export DBUS_SESSION_BUS_ADDRESS="unix:path=$stage/bus"
starts dbus dbus-daemon --session --nofork --nopidfile "--address=$DBUS_SESSION_BUS_ADDRESS"
ready dbus test -S "$stage/bus"
starts abrmd tpm2-abrmd --session --allow-root "--tcti=swtpm:path=$stage/tpm.sock"
ready abrmd dbus-send --session --dest=com.intel.tss2.Tabrmd --print-reply /com/intel/tss2/Tabrmd/Tcti \
  org.freedesktop.DBus.Peer.Ping

tcti=tabrmd:bus_name=com.intel.tss2.Tabrmd,bus_type=session
export TPM2_PKCS11_TCTI=$tcti TPM2_PKCS11_STORE="$stage/store" TSS2_LOG=all+NONE
# Of no use to anybody once the token is gone; all the same not on a command line, where everybody reads it.
SO_PIN=$(od -An -N6 -tu8 /dev/urandom | tr -d ' ') PIN=$(od -An -N6 -tu8 /dev/urandom | tr -d ' ')
export SO_PIN PIN
(umask 077 && printf '%s' "$PIN" >"$stage/pin")
shows 0 "initialized" "pkcs11-tool --module $module --slot-index 0 --init-token --label release --so-pin env:SO_PIN"
shows 0 "initialized" "pkcs11-tool --module $module --token-label release --login --login-type so --so-pin env:SO_PIN --init-pin --new-pin env:PIN"
say "What the daemon is told of it:"
more_configuration="
[keys]
destroy_after_seconds = 0

[[token]]
name = \"tpm\"
module = \"$module\"
label = \"release\"
pin_file = \"$stage/pin\"
environment = [
  \"TPM2_PKCS11_STORE=$stage/store\",
  \"TPM2_PKCS11_TCTI=$tcti\",
  \"DBUS_SESSION_BUS_ADDRESS=$DBUS_SESSION_BUS_ADDRESS\",
]
writable = [\"$stage/store\"]
sockets = [\"$stage/bus\"]"
say "$more_configuration"
start_daemon
ready trustd sh -c "trustctl status | grep -q 'tpm: ready'"
shows 0 "tpm" "trustctl hsm list"

# ---- what it can ---------------------------------------------------------------------------------
step "What it says of itself, measured"
shows 0 "works" "trustctl hsm doctor tpm --sessions-max 8"

step "A key of each algorithm that a request may ask for"
printf 'the first release\n' >app.tar
for algorithm in ecdsa-p256-sha256 ecdsa-p384-sha256 rsa3072-pkcs1-sha256 rsa4096-pkcs1-sha256; do
  if tried "trustctl key create by-$algorithm --purpose release-blob --algorithm $algorithm --token tpm"; then
    shows 0 "" "trustctl key public by-$algorithm >by-$algorithm.pub"
    if tried "trustctl sign --force --key by-$algorithm app.tar"; then
      shows 0 "" "trustctl verify --public-key by-$algorithm.pub app.tar"
      shows 0 "Verified OK" "openssl base64 -d -A -in app.tar.sig -out app.raw && openssl dgst -sha256 -verify by-$algorithm.pub -signature app.raw app.tar"
    fi
  fi
done
tried "trustctl key create by-ed25519 --purpose release-statement --algorithm ed25519 --token tpm" || true

step "What every token has to do: make, sign, stay"
shows 0 "" "trustctl key create app --purpose release-blob --token tpm"
shows 0 "" "trustctl key public app >app.pub"
shows 0 "" "trustctl sign --force --key app app.tar"
shows 0 "" "trustctl verify --public-key app.pub app.tar"
shows 0 "never extractable" "pkcs11-tool --module $module --token-label release --login --pin env:PIN --list-objects --type privkey"

step "Another program makes a key, and the module's process is killed"
shows 0 "" "pkcs11-tool --module $module --token-label release --login --pin env:PIN --keypairgen --key-type EC:prime256v1 --id 0a0b --label theirs --usage-sign"
# The software keys' worker starts first, the token's after it.
worker=$(grep 'custody worker started' "$stage/trustd.log" | tail -n 1 | grep -o 'pid=[0-9]*' | cut -d= -f2)
shows 0 "" "kill -KILL $worker"
ready trustd sh -c "trustctl status | grep -q 'tpm: ready, restarted'"
shows 0 "" "trustctl sign --force --key app app.tar"
shows 0 "" "trustctl verify --public-key app.pub app.tar"

step "A key that was there already, one that is brought, and the root key"
shows 0 "0a0b" "trustctl hsm orphans"
tried "trustctl key adopt theirs --token tpm --id 0a0b --purpose release-blob" || true
(umask 077 && openssl genpkey -algorithm EC -pkeyopt ec_paramgen_curve:P-256 -out brought.p8)
tried "trustctl key import brought --file brought.p8 --purpose release-blob --token tpm" || true
tried "trustctl kek rotate --to token tpm --no-recovery" || true

step "The end of a key"
shows 0 "" "trustctl key retire app"
shows 0 "" "trustctl key destroy app --yes"
ready trustd sh -c "trustctl key show app | grep -q 'destroyed'"
shows 0 "destroyed" "trustctl key show app"
shows 0 "" "trustctl key create next --purpose release-blob --token tpm"
shows 0 "" "trustctl key public next >next.pub"
shows 0 "" "trustctl sign --force --key next app.tar"
shows 0 "" "trustctl verify --public-key next.pub app.tar"
shows 0 "" "trustctl sign --force --key by-ecdsa-p256-sha256 app.tar"
shows 0 "" "trustctl verify --public-key by-ecdsa-p256-sha256.pub app.tar"
shows_log
say "Every step that is judged did what it says ($SECONDS s)."
