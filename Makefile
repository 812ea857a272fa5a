# The only list of commands. Each does its own set-up on a machine that has Python 3.11 to 3.13, a Rust toolchain (1.89 or newer) and make,
# and each is safe to run twice. What they build is in .venv, .build and target, and `make clean` takes it away; what `make run` keeps is in .nexkey, and stays.
SHELL := /bin/bash
.SHELLFLAGS := -euo pipefail -c
.DEFAULT_GOAL := help
.DELETE_ON_ERROR:
.NOTPARALLEL:
MAKEFLAGS += --no-builtin-rules --no-print-directory

VENV := .venv
BIN := $(VENV)/bin
STAMPS := $(VENV)/.stamps
export VIRTUAL_ENV := $(CURDIR)/$(VENV)
unexport PYTHONPATH PYTHONHOME

# The embedded store has wheels for CPython 3.11 to 3.13, so a newer `python3` is passed over when an older one is there.
PYTHON ?= $(shell for candidate in python3 python3.13 python3.12 python3.11; do \
	"$$candidate" -c 'import ensurepip, sys; sys.exit(not (3, 11) <= sys.version_info[:2] <= (3, 13))' 2>/dev/null && { echo "$$candidate"; break; }; done)

# The crate that links into Python has no main of its own to test; the crates under it have.
RUST_TESTED := --workspace --exclude nexkey-core --locked
RUST_SOURCES := Cargo.toml Cargo.lock pyproject.toml $(shell find core_rs -type f -not -path '*/target/*' -not -path 'core_rs/fuzz/*')
EXTENSION_MISSING := $(if $(wildcard py_service/_core_rs*.so),,extension-missing)

# Two files at once: a service with its locks waits more than it works. The folder that takes longest comes first. More than two on 2 cores have locks refuse
# what comes too late for them.
PYTEST := $(BIN)/python -m pytest --numprocesses 2 --dist loadfile --no-loadscope-reorder
NO_PROCESSES := tests/boundary tests/property tests/unit

REVOKES ?= 5000
CAMPAIGN_KILLS ?= 200
SCHEMATHESIS_EXAMPLES ?= 100
FUZZ_SECONDS ?= 60
FUZZ_TOOLCHAIN ?= nightly

##@ To start
.PHONY: help
help:  ## this list
	@awk 'BEGIN {FS = ":.*## "} /^##@/ {printf "\n%s\n", substr($$0, 5)} /^[a-z-]+:.*## / {printf "  make %-18s %s\n", $$1, $$2}' Makefile

.PHONY: setup
setup: $(STAMPS)/packages  ## the Python environment with every pinned package

.PHONY: build
build: $(STAMPS)/extension  ## the compiled core (release), and the command `nexkey`

##@ To see it work
.PHONY: run
run: build  ## everything up on this machine, with a demo organization; Ctrl-C stops it
	@exec $(BIN)/nexkey up --demo

.PHONY: demo
demo: build  ## one round of the main job; exits 0 only if every outcome was right
	@$(BIN)/nexkey demo

##@ To know that it works
.PHONY: test
test: test-rust build  ## all tests, Rust and Python
	$(PYTEST) tests/e2e tests/integration $(NO_PROCESSES)

.PHONY: test-rust
test-rust:  ## the tests of the crates
	cargo test $(RUST_TESTED) --quiet

.PHONY: test-unit
test-unit: test-rust build  ## what needs no other process: crates, units, properties, boundaries
	$(PYTEST) $(NO_PROCESSES)

.PHONY: test-integration
test-integration: build  ## against the embedded stores, and through every process
	$(PYTEST) tests/e2e tests/integration

.PHONY: check
check: build  ## formatting, lints, types, stubs, imports, tidiness
	cargo fmt --all --check
	cargo clippy --workspace --all-targets --locked --quiet -- -D warnings
	$(BIN)/ruff format --check .
	$(BIN)/ruff check .
	$(BIN)/mypy
	$(BIN)/stubtest py_service._core_rs --mypy-config-file pyproject.toml --allowlist tests/boundary/stubtest_allowlist.txt --ignore-unused-allowlist
	$(BIN)/lint-imports --no-logo
	$(BIN)/python -m pytest tests/boundary --quiet

.PHONY: format
format: setup  ## format Rust and Python, and mend what a linter can
	cargo fmt --all
	$(BIN)/ruff check --fix-only --quiet .
	$(BIN)/ruff format .

##@ To measure and to attack
.PHONY: bench
bench: build wrk  ## every benchmark, with the machine and the versions it ran on; installs wrk with apt-get (sudo) where it is missing
	$(BIN)/python -m benchmarks

.PHONY: bench-million
bench-million: build  ## what is too long for `make bench`: imports of 100,000 rows; a million persons in a real store, and one unlock there beside one with 1,000 persons; 25 minutes
	$(BIN)/python -m benchmarks.imports --rows 100000
	$(BIN)/python -m benchmarks.scale --store 1000000
	$(BIN)/python -m benchmarks.unlock_scale --persons 1000000

.PHONY: loadtest
loadtest: build  ## the gate: a mixed load, 31 ms on average at most in one of three runs, no failure in any
	$(BIN)/python -m loadtests

.PHONY: histories
histories: build  ## REVOKES (5000; 200000 take two hours and more) revokes in 55 ways against four unlocks each, while processes die: the history is judged; 400 are part of `make test`
	REVOKES=$(REVOKES) $(BIN)/python -m pytest -m histories --override-ini=faulthandler_timeout=0

.PHONY: campaign
campaign: build  ## CAMPAIGN_KILLS (200) SIGKILLs under load, and nothing that was acknowledged is lost
	CAMPAIGN_KILLS=$(CAMPAIGN_KILLS) $(BIN)/python -m pytest -s tests/e2e/test_nothing_lost.py --override-ini=faulthandler_timeout=0

.PHONY: schemathesis
schemathesis: build  ## SCHEMATHESIS_EXAMPLES (100) requests of each kind for every operation, made up from the OpenAPI document
	SCHEMATHESIS_EXAMPLES=$(SCHEMATHESIS_EXAMPLES) $(BIN)/python -m pytest -s tests/e2e/test_schemathesis.py --override-ini=faulthandler_timeout=0

.PHONY: fuzz
fuzz: cargo-fuzz  ## every fuzz target for FUZZ_SECONDS (60)
	@targets=$$(cargo +$(FUZZ_TOOLCHAIN) fuzz list --fuzz-dir core_rs/fuzz); \
	for target in $$targets; do \
		mkdir -p ".build/fuzz/$$target"; \
		cargo +$(FUZZ_TOOLCHAIN) fuzz run --fuzz-dir core_rs/fuzz "$$target" ".build/fuzz/$$target" -- -max_total_time=$(FUZZ_SECONDS); \
	done

##@ To ship and to keep
.PHONY: wheel
wheel: $(STAMPS)/packages  ## the wheel, in dist/
	$(BIN)/maturin build --release --locked --out dist

.PHONY: lock
lock: $(STAMPS)/venv  ## pin again what pyproject.toml and requirements/*.in ask for; UPGRADE=1 takes newer versions
	@pin() { $(BIN)/uv pip compile --quiet --universal --python-version 3.11 --generate-hashes --no-emit-index-url --no-emit-find-links \
		--custom-compile-command 'make lock' $(if $(UPGRADE),--upgrade) "$$@"; }; \
	pin requirements/tools.in --output-file requirements/tools.txt; \
	pin pyproject.toml --extra embedded requirements/dev.in --output-file requirements/dev.txt; \
	pin pyproject.toml --extra embedded --constraint requirements/dev.txt --output-file requirements/embedded.txt; \
	pin pyproject.toml --constraint requirements/dev.txt --output-file requirements/runtime.txt

.PHONY: clean
clean:  ## take away everything that was built; the data under .nexkey stays
	rm -rf $(VENV) .build dist target core_rs/fuzz/target .mypy_cache .pytest_cache .ruff_cache .import_linter_cache .hypothesis
	rm -f py_service/_core_rs*.so
	find py_service tests benchmarks loadtests -name __pycache__ -type d -prune -exec rm -rf {} +

# --- set-up: each stamp stands for a finished step, inside the folder that it is about -------------------------------

$(STAMPS)/venv: requirements/tools.txt
	@test -n "$(PYTHON)" || { echo "Python 3.11, 3.12 or 3.13 with its venv module is needed; name one: make PYTHON=<path>" >&2; exit 1; }
	@command -v cargo >/dev/null || { echo "A Rust toolchain, 1.89 or newer, is needed (cargo was not found)" >&2; exit 1; }
	$(PYTHON) -m venv $(VENV)
	$(BIN)/python -m pip install --quiet --disable-pip-version-check --require-hashes -r requirements/tools.txt
	@mkdir -p $(STAMPS) && touch $@

$(STAMPS)/packages: $(STAMPS)/venv requirements/dev.txt
	$(BIN)/uv pip install --quiet --require-hashes -r requirements/dev.txt
	@touch $@

$(STAMPS)/extension: $(STAMPS)/packages $(RUST_SOURCES) $(EXTENSION_MISSING)
	PATH="$(CURDIR)/$(BIN):$$PATH" $(BIN)/maturin develop --release --uv --locked --quiet
	@touch $@

.PHONY: extension-missing
extension-missing:

# --- tools of the machine ---------------------------------------------------------------------------------------------

.PHONY: wrk
wrk:
	@command -v wrk >/dev/null || { \
		if ! command -v apt-get >/dev/null; then echo "wrk is needed: install it with your system's packages" >&2; exit 1; fi; \
		if [ "$$(id -u)" = 0 ]; then as_root=(); \
		elif command -v sudo >/dev/null; then as_root=(sudo); \
		else echo "wrk is needed, and this is neither root nor is there sudo: have somebody run 'apt-get install wrk'" >&2; exit 1; fi; \
		"$${as_root[@]}" apt-get update -qq && "$${as_root[@]}" apt-get install -y -qq wrk >/dev/null; }

.PHONY: cargo-fuzz
cargo-fuzz:
	@cargo fuzz --version >/dev/null 2>&1 || cargo install --locked --quiet cargo-fuzz
