#!/usr/bin/env bash
# Docker's content trust, served by trustd to an unmodified docker: the client
# has nothing of ours but the daemon's address. Then the way out: what docker
# signed gets cosign's signatures. Each step prints the command a user would
# type and what it really said; the script ends with 0 only if each step did
# what it says. Nothing is left running or lying about.
#
#   demo_content_trust.sh     as root with a docker engine of its own, otherwise
#                             with the engine you may use already
set -euo pipefail
[ $# -eq 0 ] || { sed -n '2,9p' "$0" >&2; exit 2; }
cd "$(dirname "$0")/.."
# shellcheck disable=SC2034 # checkout is for the stage
checkout=$PWD engine=shared
PATH="$PATH:/usr/local/sbin:/usr/sbin:/sbin"
. scripts/demo/stage.sh

# ---- what it needs, said before anything is changed --------------------------------------------
if [ "$(id -u)" -eq 0 ]; then
  engine=own
  say "The story needs a docker engine, docker-registry, busybox, curl, openssl and a C compiler."
  say "What is missing of them is named and installed now, with apt."
  scripts/install_test_tools.sh --demo-content-trust
elif ! docker info >/dev/null 2>&1 || ! has docker-registry curl busybox openssl; then
  fail "it needs a docker engine, docker-registry, busybox-static, curl and openssl; as root it installs them: sudo make demo-dct"
fi
docker_version=$(docker --version | sed -n 's/^Docker version \([0-9]*\).*/\1/p')
if [ "${docker_version:-0}" -gt 28 ]; then
  fail "docker CLI $docker_version has no content trust any more; the story needs 28 or older: apt-get install docker.io"
fi
say "Building trustd and trustctl, and cosign for the way out (the first time takes some minutes)."
as_owner cargo build --locked --quiet -p trustd -p trustctl
as_owner scripts/build_peers.sh cosign3
cosign=$(as_owner scripts/build_peers.sh path cosign3)

# ---- a place of its own ------------------------------------------------------------------------
set_stage
start_registry
step "A certificate for the daemon's door, of an authority of one's own"
curve="ec -pkeyopt ec_paramgen_curve:prime256v1 -noenc"
shows 0 "" "openssl req -x509 -newkey $curve -days 1 -subj '/CN=demo authority' -keyout $stage/ca.key -out $stage/ca.pem 2>/dev/null"
printf 'subjectAltName = DNS:localhost\nextendedKeyUsage = serverAuth\n' >"$stage/notary.cnf"
shows 0 "" "openssl req -new -newkey $curve -subj /CN=localhost -keyout $stage/notary.key -out $stage/notary.csr 2>/dev/null"
shows 0 "" "openssl x509 -req -in $stage/notary.csr -CA $stage/ca.pem -CAkey $stage/ca.key -CAcreateserial -days 1 \\
    -extfile $stage/notary.cnf -out $stage/notary.pem 2>/dev/null"
say "What the daemon is told of content trust:"
more_configuration="
[notary]
listen = \"127.0.0.1:0\"
certificate = \"$stage/notary.pem\"
key = \"$stage/notary.key\"
auth = \"none\"
gun_prefixes = [\"localhost:$port/\"]"
say "$more_configuration"
start_daemon
trust_port=$(grep -o 'Notary.*' "$stage/trustd.log" | grep -o '127.0.0.1:[0-9]*' | head -n 1 | cut -d: -f2)
[ -n "$trust_port" ] || fail "the daemon did not say where its door is"
[ "$engine" = shared ] || start_engine
. "$checkout/scripts/demo/images.sh"
# Of no use to anybody once the demo is over.
DOCKER_CONTENT_TRUST_ROOT_PASSPHRASE=$(od -An -N8 -tx8 /dev/urandom | tr -d ' ')
DOCKER_CONTENT_TRUST_REPOSITORY_PASSPHRASE=$(od -An -N8 -tx8 /dev/urandom | tr -d ' ')
export DOCKER_CONTENT_TRUST_ROOT_PASSPHRASE DOCKER_CONTENT_TRUST_REPOSITORY_PASSPHRASE

# ---- the seed's story, with docker alone -------------------------------------------------------
step "Docker is told to trust nothing that is not signed, and whom to ask"
export DOCKER_CONTENT_TRUST=1 DOCKER_CONTENT_TRUST_SERVER="https://localhost:$trust_port"
say "$ export DOCKER_CONTENT_TRUST=1 DOCKER_CONTENT_TRUST_SERVER=$DOCKER_CONTENT_TRUST_SERVER"
shows 0 "Docker version" "docker --version"

step "Build an image and push it: docker signs it"
image "hello from a signed image"
shows 0 "sha256:" "docker build --quiet --tag $app:1.0 ."
shows 0 "Successfully signed" "docker push $app:1.0"

step "Pull it: docker verifies it, and pulls what was signed"
docker rmi --force "$app:1.0" >/dev/null
shows 0 "sha256:" "docker pull $app:1.0"
shows 0 "hello from a signed image" "docker run --rm --network none $app:1.0"
shows 0 "1.0" "docker trust inspect --pretty $app"

step "Somebody pushes an image without a signature"
image "hello from nobody"
shows 0 "sha256:" "DOCKER_CONTENT_TRUST=0 docker build --quiet --tag $app:2.0 ."
shows 0 "digest: sha256:" "DOCKER_CONTENT_TRUST=0 docker push $app:2.0"
docker rmi --force "$app:2.0" >/dev/null

step "It is not pulled, and not run"
shows 1 "No valid trust data for 2.0" "docker pull $app:2.0"
shows 125 "No valid trust data for 2.0" "docker run --rm --network none $app:2.0"
if DOCKER_CONTENT_TRUST=0 docker image inspect "$app:2.0" >/dev/null 2>&1; then fail "the refused image was pulled all the same"; fi

step "With content trust off, it is pulled without a question"
shows 0 "sha256:" "DOCKER_CONTENT_TRUST=0 docker pull $app:2.0"

# ---- the way out -------------------------------------------------------------------------------
step "The way out: the same tags get cosign's signatures, by a key of the daemon"
mkdir -p "$HOME/.config/trustctl" "$stage/bin"
ln -s "$cosign" "$stage/bin/cosign"
export PATH="$stage/bin:$PATH"
cat >"$HOME/.config/trustctl/config.toml" <<EOF
[[trust_servers]]
repository = "$app"
url = "$DOCKER_CONTENT_TRUST_SERVER"
ca = "$stage/ca.pem"
EOF
shows 0 "trust_servers" "cat ~/.config/trustctl/config.toml"
shows 0 "demo-app" "trustctl key create demo-app --purpose image --scope $app"
shows 0 "BEGIN PUBLIC KEY" "trustctl key public demo-app | tee demo-app.pub"
shows 0 "1 carried over" "trustctl migrate notary export --to cosign $app"
say "What is there is left alone, so an export that was interrupted is run again:"
shows 0 "1 there already" "trustctl migrate notary export --to cosign $app"

step "Now cosign verifies what docker signed, and nothing else"
shows 0 "were verified" "cosign verify --key demo-app.pub --insecure-ignore-tlog=true $app:1.0 >/dev/null"
if cosign verify --key demo-app.pub --insecure-ignore-tlog=true "$app:2.0" >refused.txt 2>&1; then
  fail "cosign took the image that nobody signed"
fi
say "$ cosign verify --key demo-app.pub --insecure-ignore-tlog=true $app:2.0"
sed 's/^/  /' refused.txt

shows_log
say "Every step did what it says ($SECONDS s)."
