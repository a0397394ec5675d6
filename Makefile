PREFIX ?= /usr/local
DESTDIR ?=

.PHONY: demo demo-dct demo-hsm try-tpm test test-asan test-long test-emulated bench install

# The whole story with a throwaway daemon, registry and engine; leaves nothing behind.
demo:
	scripts/demo.sh

# The same with keys that never leave a PKCS#11 token, here SoftHSM, and a release signed with them.
demo-hsm:
	scripts/demo.sh --hsm

# Docker's content trust for an unmodified docker (CLI up to 28), and the way out to cosign.
demo-dct:
	scripts/demo_content_trust.sh

# Keys in a TPM, here a software one behind tpm2-pkcs11: shows what such a token does and what it refuses.
try-tpm:
	scripts/try_tpm.sh

# Everything, with the real peer programs. Names what is missing before it starts.
test:
	scripts/install_test_tools.sh
	scripts/build_peers.sh
	cargo build --workspace --bins --locked
	cargo build --package trustd --features test-import --bin trustd-known-key --locked
	cargo build --package trustd --features test-leak --bin trustd-leaking --locked
	cargo test --workspace --locked --no-fail-fast
	cargo test --package trust-hsm --features test-import --test residue --locked
	cargo test --package trust-hsm --features test-import,test-leak --test residue --locked known_key

# The vector code, where `unsafe` is, under AddressSanitizer.
test-asan:
	scripts/test_asan.sh

# The same tests with larger counts: kill, power-cut and fuzz loops; some hours on two cores.
test-long: test-asan
	TRUSTD_TEST_LONG=1 $(MAKE) test

# The batch verifier's path of AVX-512 IFMA, on an emulated processor that has it: some twenty minutes of a core.
test-emulated:
	scripts/test_emulated.sh

# How fast it is, beside Debian's notary-signer and other libraries: bench-results/report.html and its rows.
# QUICK=1: some cases of everything, within five minutes once it is built. OUT: another directory.
OUT ?= bench-results
bench:
	scripts/install_test_tools.sh --bench
	cargo build --workspace --bins --release --locked --features trust-bench/peers
	beside=$$(scripts/build_beside.sh) && \
	"$${CARGO_TARGET_DIR:-target}/release/trust-bench" $$beside --out "$(OUT)" $(if $(filter-out 0,$(QUICK)),--quick)

install:
	scripts/install.sh "$(DESTDIR)" "$(PREFIX)"
