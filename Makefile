# SPDX-License-Identifier: GPL-2.0-only

# make run:   everything from nothing: setup, kernel, module, every scenario, a report.
# make test:  the same setup, then all tests, those that boot a VM included.
# make bench: measures what the README claims.
# make setup: installs what is missing (as root), or prints the command that does.
# make build: harness and agent.

CARGO ?= cargo
# Not an optimised build: it takes longer to make than it saves, for the harness waits for the guest;
# and the tests build on this one.
DEFERINIT := $(or $(CARGO_TARGET_DIR),target)/debug/deferinit

.PHONY: run test bench setup build

run: setup
	$(DEFERINIT) run

test: setup
	$(DEFERINIT) kernel build
	$(CARGO) xtask test

bench: setup
	$(CARGO) xtask bench

setup: build
	$(DEFERINIT) setup

build:
	@sh kbuild/bootstrap.sh
	$(CARGO) build --package deferinit
	RUSTFLAGS="-C target-feature=+crt-static" $(CARGO) build --profile agent --target x86_64-unknown-linux-gnu --package deferinit-agent
