# shellcheck shell=bash
# The same story on files. Sourced by demo.sh.

step "A key that signs release files, and nothing else"
shows 0 "demo-release" "trustctl key create demo-release --purpose release-blob"
shows 0 "BEGIN PUBLIC KEY" "trustctl key public demo-release | tee demo-release.pub"

step "Sign a file"
printf 'the first release\n' >app.tar
shows 0 "" "trustctl sign --key demo-release app.tar"
shows 0 "app.tar.sig" "ls app.tar*"

step "Verify it here, without the daemon"
shows 0 "" "trustctl verify --public-key demo-release.pub app.tar"

step "A file without a signature is refused"
printf 'from nobody\n' >other.tar
shows 1 "sign" "trustctl verify --public-key demo-release.pub other.tar"

step "So is a file that somebody changed"
printf 'the first release, changed\n' >app.tar
shows 1 "" "trustctl verify --public-key demo-release.pub app.tar"

step "And a signature that somebody changed"
printf 'the first release\n' >app.tar
shows 0 "" "sed -i -E 's#^(.{40})....#\1AAAA#' app.tar.sig && rm -f app.tar.sigstore.json"
shows 1 "" "trustctl verify --public-key demo-release.pub app.tar"
