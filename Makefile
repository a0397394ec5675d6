PREFIX ?= /usr/local
DESTDIR ?=

.PHONY: demo test test-long bench install

# The whole story with a throwaway daemon, registry and engine; leaves nothing behind.
demo:
	scripts/demo.sh

# Everything, with the real peer programs. Names what is missing before it starts.
test:
	scripts/install_test_tools.sh
	scripts/build_peers.sh
	cargo build --workspace --bins --locked
	cargo test --workspace --locked

# The same tests with larger counts: kill, power-cut and fuzz loops.
test-long:
	TRUSTD_TEST_LONG=1 $(MAKE) test

# How fast it is, beside Debian's notary-signer: a table, and bench-results/results.json.
bench:
	scripts/install_test_tools.sh --bench
	cargo build --workspace --bins --release --locked
	cargo run --package trust-bench --release --locked --quiet

install:
	scripts/install.sh "$(DESTDIR)" "$(PREFIX)"
