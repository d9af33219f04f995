# The commands a newcomer types. `make` alone lists them.

SHELL := /bin/bash
.SHELLFLAGS := -euo pipefail -c
.DEFAULT_GOAL := help

# One build serves the demo, `make serve` and the tests: the dev profile. A release
# build takes several times as long to save seconds of a run.
BIN := $(or $(CARGO_TARGET_DIR),target)/debug
DEMO := var/demo

.PHONY: help demo demo-serve demo-clean test chaos crashes explain-demo fault-table serve fmt lint build bench bench-large bench-load bench-metabase random-states fuzz clients bench-forecast forecast-reference

help: ## list these commands
	@sed -n 's/^\([a-z-]*\):[^#]*## \(.*\)$$/  make \1\t\2/p' $(firstword $(MAKEFILE_LIST)) | expand -t 20

demo: ## the whole chain on this machine: stand-ins, PostgreSQL, load, provision, prove, mail
	@scripts/install-debian.sh demo
	@$(MAKE) --no-print-directory build
	@exec $(BIN)/sandbox demo --storekeeper $(BIN)/storekeeper --dir $(DEMO)

demo-serve: ## keep the demo's Metabase and daemon up until ctrl-c, to look at a dashboard
	@scripts/install-debian.sh demo
	@$(MAKE) --no-print-directory build
	@exec $(BIN)/sandbox serve --storekeeper $(BIN)/storekeeper --dir $(DEMO)

demo-clean: ## stop what the demo left running and remove every trace of it
	@scripts/demo-clean.sh $(DEMO) $(BIN)/sandbox

test: ## format, lints and all tests, as CI runs them; installs what they need
	@scripts/install-debian.sh test
	cargo fmt --all --check
	cargo clippy --workspace --all-targets --locked -- -D warnings
	cargo test --workspace --locked
	@scripts/deny.sh

chaos: ## 200 seeded storms of faults over all sources: the rows must be those of a calm run
	@scripts/install-debian.sh test
	cargo test --workspace --locked --test it -- --ignored --nocapture two_hundred_storms

crashes: ## kill the program and its server 500 times in the middle of loads, before 20 readers
	@scripts/install-debian.sh test
	cargo test --workspace --locked --test it -- --ignored --nocapture five_hundred_random_kills

explain-demo: ## hold a thousand values of the demo's world against the cells they came from
	@scripts/install-debian.sh test
	cargo test --workspace --locked --test it -- --ignored --nocapture a_thousand_values_of_the_demo

fault-table: ## play every fault by name and write docs/faults.md
	@scripts/install-debian.sh test
	STOREKEEPER_WRITE_FAULT_TABLE=1 cargo test --workspace --locked --test it -- each_fault_ends

serve: ## run the daemon with the settings in config/
	@$(MAKE) --no-print-directory build
	@exec $(BIN)/storekeeper serve

fmt: ## format the code
	cargo fmt --all

lint: ## what `make test` checks before the tests
	cargo fmt --all --check
	cargo clippy --workspace --all-targets --locked -- -D warnings
	@scripts/deny.sh

build: ## build the program and the sandbox, as `make demo` does
	cargo build --workspace --bins --locked

# The benches are a package of their own that compiles the modules it measures from
# their source: no part of the program's build, and minutes faster than it.
MEASURE := CARGO_TARGET_DIR=$(CURDIR)/target/measure

bench: ## measure reading CSV against arrow-csv and XLSX against calamine, and print the ratios
	$(MEASURE) cargo bench --locked --manifest-path benches/Cargo.toml --bench csv
	$(MEASURE) cargo bench --locked --manifest-path benches/Cargo.toml --bench xlsx

bench-large: ## read generated CSV of 50 MB, 500 MB and 5 GB, and print the memory it took
	$(MEASURE) cargo build --release --locked --manifest-path benches/Cargo.toml --bin large
	@for megabytes in 50 500 5000; do target/measure/release/large $$megabytes; done

# Fits and searches take minutes without optimisation, seconds with it.
forecast-reference: ## hold the forecast models against the values in ../shared/forecast-reference, mark by mark
	FORECAST_REFERENCE=$(or $(REFERENCE),$(CURDIR)/../shared/forecast-reference) $(MEASURE) \
	  cargo test --release --locked --package forecast --test reference -- \
	  --include-ignored --nocapture --test-threads 1

bench-load: ## load 1,000,000 rows (GROW=--grow: 10,000,000 too), against psql's \copy, and print what it took
	@scripts/install-debian.sh bench
	cargo build --release --locked --bin storekeeper
	@scripts/bench-load.sh $(or $(CARGO_TARGET_DIR),target)/release/storekeeper 1000000 $(GROW)

bench-metabase: ## calls and seconds of plan and apply at 45, 400 and 2,000 stores, and of a certificate at 400
	@scripts/install-debian.sh test
	cargo test --workspace --locked --test it -- --ignored --nocapture --test-threads 1 metabase::scale::bench

random-states: ## 1,000 (STATES=n) random states on each release (or RELEASE=v0.61.2) of the stand-in, and a first apply killed at each step
	@scripts/install-debian.sh test
	cargo test --workspace --locked --test it -- --ignored --nocapture --test-threads 1 metabase::random

bench-forecast: ## measure forecasts against statsforecast and statsmodels (SEEDS="7 8" STORES=6 PANEL=FILE.csv)
	$(MEASURE) cargo build --release --locked --manifest-path benches/forecast/Cargo.toml
	@scripts/bench-forecast/run.sh target/measure/release/storekeeper-forecast-bench target/bench-forecast

clients: ## let Microsoft's own clients and rclone work against the stand-ins, over TLS
	@scripts/install-debian.sh test
	cargo build --workspace --bins --locked
	@scripts/third-party-clients/run.py

fuzz: ## feed damaged input to each parser of bytes from outside, for SECONDS=60 each
	@SECONDS_EACH=$(or $(SECONDS),60) scripts/fuzz.sh
