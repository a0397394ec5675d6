#!/usr/bin/env bash
# Installs what the tests need beyond Rust. Names every missing thing with its
# remedy before it changes anything; what Debian packages is installed with apt
# when this is root, everything else stays yours to do.
#
#   install_test_tools.sh          what `make test` needs
#   install_test_tools.sh --check  says what is missing, installs nothing
#   install_test_tools.sh --demo   what `make demo` needs
#   install_test_tools.sh --demo-content-trust  what `make demo-dct` needs
#   install_test_tools.sh --demo-hsm        what `make demo-hsm` needs
#   install_test_tools.sh --demo-hsm-files  the same without engine and registry
#   install_test_tools.sh --try-tpm         what `make try-tpm` needs
#   install_test_tools.sh --bench  what `make bench` needs
#
# Exit code 0: everything is there; 1: something is missing.
set -euo pipefail
. "$(dirname "$0")/programs.sh"

# program → Debian package.
declare -A packages=(
  [busybox]=busybox-static
  [cc]=build-essential
  [curl]=curl
  [docker]=docker.io
  [dockerd]=docker.io
  [docker-registry]=docker-registry
)
declare -A test_packages=(
  [clang]=clang
  [fuse-overlayfs]=fuse-overlayfs
  [minisign]=minisign
  [mkfs.ext4]=e2fsprogs
  [mkfs.xfs]=xfsprogs
  [notary]=notary
  [openssl]=openssl
  [perl]=perl
  [pkcs11-tool]=opensc
  [podman]=podman
  [python3]=python3
  [runc]=runc
  [softhsm2-util]=softhsm2
  [ssh-keygen]=openssh-client
  [strace]=strace
  [systemd-analyze]=systemd
  [xfs_io]=xfsprogs
)
# The token of `make demo-hsm`, and the tools of strangers.
declare -A token_packages=(
  [minisign]=minisign
  [openssl]=openssl
  [pkcs11-tool]=opensc
  [softhsm2-util]=softhsm2
  [ssh-keygen]=openssh-client
)
# A software TPM, its resource manager and the bus between that and the module.
declare -A tpm_packages=(
  [cc]=build-essential
  [dbus-daemon]=dbus-daemon
  [dbus-send]=dbus-bin
  [openssl]=openssl
  [pkcs11-tool]=opensc
  [swtpm]=swtpm
  [tpm2-abrmd]=tpm2-abrmd
)
# Libraries, which no look at PATH finds.
tpm_libraries=(libtpm2-pkcs11-1 libtss2-tcti-swtpm0 libtss2-tcti-tabrmd0)
# Whom the benchmark measures beside us, what counts flushes, and the libraries that small programs of its are linked with.
declare -A bench_packages=(
  [libsodium-dev]=libsodium-dev
  [libssl-dev]=libssl-dev
  [mariadbd]=mariadb-server
  [notary-signer]=notary
  [openssl]=openssl
  [softhsm2-util]=softhsm2
  [strace]=strace
)
mode="${1:-}"
case "$mode" in
  '' | --check)
    for tool in "${!test_packages[@]}"; do packages[$tool]=${test_packages[$tool]}; done
    for tool in "${!bench_packages[@]}"; do packages[$tool]=${bench_packages[$tool]}; done
    ;;
  --demo) ;;
  --demo-content-trust) packages[openssl]=openssl ;;
  --demo-hsm)
    for tool in "${!token_packages[@]}"; do packages[$tool]=${token_packages[$tool]}; done
    ;;
  --demo-hsm-files)
    packages=([cc]=build-essential)
    for tool in "${!token_packages[@]}"; do packages[$tool]=${token_packages[$tool]}; done
    ;;
  --try-tpm)
    packages=()
    for tool in "${!tpm_packages[@]}"; do packages[$tool]=${tpm_packages[$tool]}; done
    for library in "${tpm_libraries[@]}"; do packages[$library]=$library; done
    ;;
  --bench)
    packages=([cc]=build-essential)
    for tool in "${!bench_packages[@]}"; do packages[$tool]=${bench_packages[$tool]}; done
    ;;
  *) sed -n '2,16p' "$0" >&2; exit 2 ;;
esac
# The administrator's programs are not on everybody's PATH, and a person's Rust is not on the administrator's.
PATH="$PATH:/usr/local/sbin:/usr/sbin:/sbin"
owners_cargo=
if [ -n "${SUDO_USER:-}" ]; then
  owners_cargo="$(getent passwd "$SUDO_USER" | cut -d: -f6)/.cargo/bin"
  PATH="$PATH:$owners_cargo"
fi

has_library() {
  case "$1" in
    lib*) dpkg-query --show --showformat '${db:Status-Abbrev}' "$1" 2>/dev/null | grep -q '^ii' ;;
    *) return 1 ;;
  esac
}

missing_tools() {
  local tool
  for tool in "${!packages[@]}"; do
    has "$tool" || has_library "$tool" || printf '%s\n' "$tool"
  done | sort
}

unpackaged=0
complain() {
  printf 'missing: %s\n  %s\n' "$1" "$2" >&2
  unpackaged=1
}
wanted_rust=$(sed -n 's/^rust-version = "\(.*\)"$/\1/p' "$(dirname "$0")/../Cargo.toml")
if ! command -v cargo >/dev/null; then
  complain "cargo (Rust $wanted_rust or newer)" "install Rust: https://rustup.rs"
elif [ ! -x "$owners_cargo/cargo" ]; then
  # Debian's own is older than this, and says of our manifests only that they do not read.
  found_rust=$(cargo --version 2>/dev/null | cut -d' ' -f2 || true)
  if [ -n "$found_rust" ] && ! printf '%s\n' "$wanted_rust" "$found_rust" | sort -C -V; then
    complain "Rust $wanted_rust or newer (found $found_rust)" "install a newer Rust: https://rustup.rs"
  fi
fi
if [ -z "$mode" ] || [ "$mode" = --check ]; then
  go_version=$(go env GOVERSION 2>/dev/null || true)
  case "$go_version" in
    go1.2[6-9]* | go1.[3-9][0-9]* | go[2-9]*) ;;
    '') complain "go (1.26 or newer)" "install Go: https://go.dev/dl/, and put its bin directory on PATH" ;;
    *) complain "go 1.26 or newer (found $go_version)" "install a newer Go: https://go.dev/dl/" ;;
  esac
  [ "$(id -u)" -eq 0 ] || complain "root" 'engines, loop devices and power cuts need it: sudo -E env "PATH=$PATH" make test'
fi

mapfile -t missing < <(missing_tools)
mapfile -t wanted < <(for tool in "${missing[@]}"; do printf '%s\n' "${packages[$tool]}"; done | sort -u)
if [ "${#missing[@]}" -gt 0 ]; then
  for tool in "${missing[@]}"; do
    printf 'missing: %s\n  apt-get install %s\n' "$tool" "${packages[$tool]}" >&2
  done
fi
[ "$unpackaged" -eq 0 ] || exit 1
[ "${#missing[@]}" -gt 0 ] || exit 0
[ "$mode" != --check ] || exit 1
if [ "$(id -u)" -ne 0 ] || ! command -v apt-get >/dev/null; then
  printf 'Install these as root, then run again: apt-get install %s\n' "${wanted[*]}" >&2
  exit 1
fi

printf 'installing with apt: %s\n' "${wanted[*]}" >&2
export DEBIAN_FRONTEND=noninteractive
# A package's service would be started by its installation: not on this machine, not by us.
guard=
if [ ! -e /usr/sbin/policy-rc.d ]; then
  guard=/usr/sbin/policy-rc.d
  printf '#!/bin/sh\nexit 101\n' >"$guard"
  chmod 755 "$guard"
  trap 'rm -f "$guard"' EXIT
fi
apt-get update -qq
apt-get install -y -qq --no-install-recommends "${wanted[@]}" >/dev/null
mapfile -t missing < <(missing_tools)
if [ "${#missing[@]}" -gt 0 ]; then
  printf 'still missing after the installation: %s\n' "${missing[*]}" >&2
  exit 1
fi
