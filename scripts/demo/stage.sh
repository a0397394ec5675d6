# shellcheck shell=bash
# The stage of the demo: how a step is shown and judged, and how the throwaway
# daemon, registry and engine start and end. Sourced by demo.sh.
# shellcheck disable=SC2154 # checkout and engine are demo.sh's

. scripts/programs.sh

bold= dim= plain=
if [ -t 1 ] && [ -z "${NO_COLOR:-}" ]; then
  bold=$'\e[1m' dim=$'\e[2m' plain=$'\e[0m'
fi
pids=() # what we started, in order
images=() # what we left in an engine that is not ours
stage=
last= # what the last command printed
more_configuration= # what the daemon's configuration has besides
in_token= # how a key is asked for in a token

say() { printf '%s%s%s\n' "$dim" "$*" "$plain"; }

fail() {
  printf '\n%sThe demo failed: %s%s\n' "$bold" "$*" "$plain" >&2
  exit 1
}

# A heading of the story.
step() { printf '\n%s── %s%s\n' "$bold" "$*" "$plain"; }

# shows CODE WORDS COMMAND: runs what a user would type, prints it and its output, and fails unless it ends with
# CODE and its output holds WORDS.
shows() {
  local expected="$1" words="$2" command="$3" code=0
  printf '%s$ %s%s\n' "$bold" "$command" "$plain"
  last=$(bash -o pipefail -c "$command" 2>&1) || code=$?
  [ -z "$last" ] || printf '%s\n' "$last" | sed 's/^/  /'
  [ "$expected" = 0 ] || say "  (exit code $code)"
  [ "$code" = "$expected" ] || fail "expected exit code $expected, got $code: $command"
  grep -qiF -- "$words" <<<"$last" || fail "expected to read '$words': $command"
}

# Run as the one who called sudo, so that the build leaves nothing of root's in the checkout.
as_owner() {
  if [ "$(id -u)" -eq 0 ] && [ -n "${SUDO_USER:-}" ] && [ "$SUDO_USER" != root ]; then
    local home
    home=$(getent passwd "$SUDO_USER" | cut -d: -f6)
    sudo -u "$SUDO_USER" -H env PATH="$home/.cargo/bin:$PATH" "$@"
  else
    "$@"
  fi
}

set_stage() {
  stage=$(mktemp -d "${TMPDIR:-/tmp}/trustd-demo.XXXXXX")
  trap clear_stage EXIT
  trap 'exit 130' INT
  trap 'exit 143' TERM
  mkdir -p "$stage/home" "$stage/run" "$stage/work"
  chmod 700 "$stage" "$stage/run"
  local target
  target=${CARGO_TARGET_DIR:-$checkout/target}
  # A shared engine is found, and registries are logged in to, by the person's own docker configuration.
  [ "$engine" != shared ] || export DOCKER_CONFIG="${DOCKER_CONFIG:-$HOME/.docker}"
  export PATH="$target/debug:$PATH" HOME="$stage/home" XDG_RUNTIME_DIR="$stage/run"
  unset XDG_CONFIG_HOME XDG_STATE_HOME XDG_DATA_HOME DOCKER_CONTENT_TRUST DOCKER_CONTENT_TRUST_SERVER
  cd "$stage/work"
}

clear_stage() {
  local code=$? pid
  trap - EXIT INT TERM
  if [ "${#images[@]}" -gt 0 ]; then
    docker rmi --force "${images[@]}" >/dev/null 2>&1 || true
  fi
  # The last one started ends first: the engine before the registry it speaks to.
  for ((i = ${#pids[@]} - 1; i >= 0; i--)); do
    pid=${pids[i]}
    kill "$pid" 2>/dev/null || continue
    for _ in $(seq 200); do
      kill -0 "$pid" 2>/dev/null || break
      sleep 0.1
    done
    kill -9 "$pid" 2>/dev/null || true
    wait "$pid" 2>/dev/null || true
  done
  cd /
  if [ -n "$stage" ]; then
    # What an engine still has mounted below would not be ours to delete.
    while read -r mount; do umount "$mount" 2>/dev/null || true; done < <(awk -v at="$stage/" 'index($2, at) == 1 {print $2}' /proc/mounts | sort -r)
    rm -rf "$stage"
  fi
  exit "$code"
}

# starts NAME COMMAND…: in the background, its output in NAME.log.
starts() {
  local name="$1"
  shift
  # A session of its own: Ctrl-C ends the demo, and the demo ends what it started.
  setsid "$@" >"$stage/$name.log" 2>&1 </dev/null &
  pids+=("$!")
}

# ready NAME COMMAND…: waits until COMMAND succeeds; fails with the log when the program ends or takes too long.
ready() {
  local name="$1" pid="${pids[-1]}" deadline=$((SECONDS + 60))
  shift
  until "$@" >/dev/null 2>&1; do
    if ! kill -0 "$pid" 2>/dev/null || [ "$SECONDS" -gt "$deadline" ]; then
      tail -n 20 "$stage/$name.log" >&2
      fail "$name did not start"
    fi
    sleep 0.1
  done
}

start_daemon() {
  cat >"$stage/trustd.toml" <<EOF
data_directory = "$stage/data"
socket = "$stage/run/trustd.sock"
log_origin = "log.demo.example"
root_kek = { file = "$stage/root.kek" }
$more_configuration
EOF
  export TRUSTD_ADDR="unix://$stage/run/trustd.sock"
  step "A daemon that keeps the keys"
  shows 0 "" "trustd init --config $stage/trustd.toml"
  say "$ trustd serve --config $stage/trustd.toml &"
  starts trustd trustd serve --config "$stage/trustd.toml"
  ready trustd trustctl status
  shows 0 "log.demo.example" "trustctl status"
}

start_registry() {
  cat >"$stage/registry.yml" <<EOF
version: 0.1
storage: {filesystem: {rootdirectory: $stage/registry}, delete: {enabled: true}}
http: {addr: "127.0.0.1:0"}
EOF
  starts registry docker-registry serve "$stage/registry.yml"
  ready registry grep -q 'listening on 127' "$stage/registry.log"
  port=$(grep -o 'listening on 127.0.0.1:[0-9]*' "$stage/registry.log" | grep -o '[0-9]*$')
  ready registry curl -sf --noproxy '*' "http://127.0.0.1:$port/v2/"
  export no_proxy="localhost,127.0.0.1" NO_PROXY="localhost,127.0.0.1"
  say "(a registry is at localhost:$port)"
}

# No bridge and no packet filter: nothing of the machine's network changes.
start_engine() {
  export DOCKER_HOST="unix://$stage/docker.sock"
  starts engine dockerd --bridge none --iptables=false --ip6tables=false --host "$DOCKER_HOST" \
    --data-root "$stage/docker" --exec-root "$stage/docker-run" --pidfile "$stage/docker.pid"
  ready engine docker info
}

shows_log() {
  step "Everything that was signed stands in the log"
  shows 0 "log.demo.example" "trustctl audit checkpoint"
  shows 0 "" "trustctl audit verify"
}
