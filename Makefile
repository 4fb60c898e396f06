# The tasks of the project; `make` alone lists them. What takes more than a few lines is a script in packaging/.

CARGO ?= cargo
# Named, so that build scripts and macros, which run on this machine, are not forced static (.cargo/config.toml).
TARGET ?= $(shell rustc -vV 2>/dev/null | sed -n 's/^host: //p')
RELEASE = target/$(TARGET)/release/clusterctl
FUZZ_SECONDS ?= 60
ROUNDS ?= 5
SOAK_SECONDS ?= 300
SOAK_SEED ?= $(shell date +%s)

.PHONY: help build release dist test test-fast soak lint bench demo demo-down fuzz clean cargo

help: ## list the targets
	@awk -F ':.*## ' '/^[a-z-]+:.*## / { printf "  make %-10s %s\n", $$1, $$2 }' $(MAKEFILE_LIST)

build: cargo ## build for debugging
	$(CARGO) build --locked --target $(TARGET)

release: cargo ## build the optimised static binary
	$(CARGO) build --locked --release --target $(TARGET)
	@ls -l $(RELEASE)

dist: release ## put the static binary and its SHA-256 into dist/, after checking that it is static
	packaging/dist $(RELEASE)

test: cargo ## install what is missing and run every test (root, else those on real hosts are skipped)
	packaging/run-tests

test-fast: cargo ## run the tests that need no lab
	packaging/run-tests --fast

soak: cargo ## kill things at random moments on lab hosts (root; SOAK_SECONDS=300 SOAK_SEED=N)
	packaging/install-deps build lab
	CI=true SOAK_SECONDS=$(SOAK_SECONDS) SOAK_SEED=$(SOAK_SEED) $(CARGO) test --locked --target $(TARGET) \
	  --features failpoints --test it -- --exact cluster::soak::lab_kills_at_random_moments_lose_nothing --nocapture

lint: cargo ## formatting, clippy, and dependencies where cargo-deny is installed
	packaging/lint

bench: release ## print the tables of the README's figures (root; ROUNDS=5)
	packaging/install-deps build lab bench
	@# Building the benchmarks replaces the release binary, so that a copy is measured.
	install -D $(RELEASE) target/bench/clusterctl
	$(CARGO) bench --locked --target $(TARGET) --bench exchange -- --rounds $(ROUNDS) --binary $(abspath target/bench/clusterctl)
	$(CARGO) bench --locked --target $(TARGET) --bench exchange -- --rounds $(ROUNDS) --clients 1,64 --tls --binary $(abspath target/bench/clusterctl)
	$(CARGO) bench --locked --target $(TARGET) --bench exchange -- --rounds $(ROUNDS) --clients 1,16 --flood --binary $(abspath target/bench/clusterctl)
	$(CARGO) bench --locked --target $(TARGET) --bench exchange -- --rounds $(ROUNDS) --growth 10000,100000 --herd 1000,5000 --waiting 10000 --binary $(abspath target/bench/clusterctl)
	python3 benches/formation --rounds $(ROUNDS) --binary target/bench/clusterctl

demo: cargo ## a cluster of three hosts on this machine (root)
	packaging/demo up

demo-down: ## remove the demo's hosts
	packaging/demo down

fuzz: cargo ## fuzz what reads the words of strangers (FUZZ_SECONDS=60, for each target)
	packaging/fuzz $(FUZZ_SECONDS)

clean: ## remove what was built
	$(CARGO) clean
	rm -rf dist

cargo:
	@command -v $(CARGO) >/dev/null || { \
	  echo 'cargo is missing: install Rust 1.95 or newer from https://rustup.rs (Debian 12 has an older one)' >&2; exit 1; }
