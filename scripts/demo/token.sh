# shellcheck shell=bash
# The token of the story, and a release signed with keys that lie in it. Sourced by demo.sh.
# shellcheck disable=SC2034,SC2154 # more_configuration, in_token and stage are the stage's

# Where Debian puts the module, by architecture and release.
softhsm_module() {
  local place
  for place in /usr/lib/softhsm/libsofthsm2.so /usr/lib/*/softhsm/libsofthsm2.so /usr/lib64/softhsm/libsofthsm2.so; do
    [ ! -e "$place" ] || { printf '%s' "$place"; return; }
  done
  fail "the module of SoftHSM is not where Debian puts it"
}

make_token() {
  local module
  module=$(softhsm_module)
  export SOFTHSM2_CONF="$stage/softhsm2.conf"
  mkdir -m 700 "$stage/token"
  printf 'directories.tokendir = %s\nlog.level = ERROR\n' "$stage/token" >"$SOFTHSM2_CONF"
  # Of no use to anybody once the token is gone; all the same not on a command line, where everybody reads it.
  SO_PIN=$(od -An -N6 -tu8 /dev/urandom | tr -d ' ') PIN=$(od -An -N6 -tu8 /dev/urandom | tr -d ' ')
  export SO_PIN PIN
  (umask 077 && printf '%s' "$PIN" >"$stage/pin")

  step "A token: SoftHSM in place of an HSM"
  shows 0 "initialized" "pkcs11-tool --module $module --slot-index 0 --init-token --label demo --so-pin env:SO_PIN"
  shows 0 "initialized" "pkcs11-tool --module $module --token-label demo --login --login-type so --so-pin env:SO_PIN --init-pin --new-pin env:PIN"
  say "What the daemon is told of it:"
  more_configuration="
[[token]]
name = \"hsm\"
module = \"$module\"
label = \"demo\"
pin_file = \"$stage/pin\"
environment = [\"SOFTHSM2_CONF=$SOFTHSM2_CONF\"]
writable = [\"$stage/token\"]"
  say "$more_configuration"
  in_token=" --token hsm"
  token_list="pkcs11-tool --module $module --token-label demo --login --pin env:PIN --list-objects --type privkey"
}

release_from_token() {
  step "Two keys for releases, made in the token"
  shows 0 "demo-release" "trustctl key create demo-release --purpose release-statement$in_token"
  shows 0 "demo-blobs" "trustctl key create demo-blobs --purpose release-blob$in_token"
  say "What the token says of them: they cannot leave it."
  shows 0 "never extractable" "$token_list"
  if [ "$(grep -c 'Private Key Object' <<<"$last")" != "$(grep -c 'sensitive, always sensitive, never extractable' <<<"$last")" ]; then
    fail "a key in the token could leave it"
  fi
  shows 0 "" "trustctl key public demo-release >release.pub && trustctl key public demo-blobs >blobs.pub"
  shows 0 "" "trustctl key public demo-release --format minisign >minisign.pub"
  shows 0 "" "printf 'demo namespaces=\"file\" %s\n' \"\$(trustctl key public demo-release --format openssh)\" >allowed_signers"

  step "Sign a directory of files"
  mkdir dist
  printf 'the first release\n' >dist/app.tar
  printf 'what is new\n' >dist/notes.txt
  shows 0 "2 files" "trustctl release sign dist --key demo-release --blob-key demo-blobs --version 1.0"
  shows 0 "app.tar.minisig" "ls dist"
  strangers_verify

  step "The module's process is killed in the middle"
  local worker
  # The software keys' worker starts first, the token's after it.
  worker=$(grep 'custody worker started' "$stage/trustd.log" | tail -n 1 | grep -o 'pid=[0-9]*' | cut -d= -f2)
  [ -n "$worker" ] || fail "the log names no worker"
  shows 0 "" "kill -KILL $worker"
  ready trustd sh -c "trustctl status | grep -q 'hsm: ready, restarted 1 times'"
  shows 0 "hsm: ready, restarted 1 times" "trustctl status"
  printf 'the second release\n' >dist/app.tar
  shows 0 "2 files" "trustctl release sign dist --key demo-release --blob-key demo-blobs --version 1.1 --force"
  strangers_verify

  step "A file that somebody changed is refused"
  printf 'from nobody\n' >dist/app.tar
  shows 1 "altered" "trustctl release verify dist --public-key release.pub --blob-public-key blobs.pub"
  shows 1 "" "minisign -V -H -p minisign.pub -m dist/app.tar"
}

# With what strangers have, and with trustctl.
strangers_verify() {
  step "Whoever gets it verifies with what is there"
  if command -v cosign >/dev/null; then
    shows 0 "Verified OK" "cosign verify-blob --key release.pub --bundle dist/SHA256SUMS.sigstore.json --insecure-ignore-tlog=true dist/SHA256SUMS"
  else
    say "(cosign is not installed: its commands are in docs/release.md)"
  fi
  shows 0 "Signature and comment signature verified" "minisign -V -H -p minisign.pub -m dist/app.tar"
  shows 0 "Good" "ssh-keygen -Y verify -f allowed_signers -I demo -n file -s dist/app.tar.sshsig <dist/app.tar"
  shows 0 "Verified OK" "openssl base64 -d -A -in dist/app.tar.sig -out app.raw && openssl dgst -sha256 -verify blobs.pub -signature app.raw dist/app.tar"
  shows 0 "notes.txt: OK" "cd dist && sha256sum -c --strict SHA256SUMS"
  shows 0 "verified" "trustctl release verify dist --public-key release.pub --blob-public-key blobs.pub"
}
