# SPDX-License-Identifier: Apache-2.0
# A thin front: every target is one command that can be run without make. `make help` lists them.
PREFIX ?= /usr/local
DESTDIR ?=
HUB ?=
SEED ?=
MINUTES ?=
SECONDS ?= 120
BUILD := build/release

.DEFAULT_GOAL := help
.PHONY: help demo check build bench model fuzz torture mutations install clean

help: ## this list
	@awk -F ':.*## ' '/^[a-z-]+:.*## / { printf "  make %-10s %s\n", $$1, $$2 }' $(firstword $(MAKEFILE_LIST))

demo: ## the Fashion-MNIST sweep, end to end (HUB=mongodb://... for a server)
	scripts/demo $(HUB)

check: ## builds and runs every test, plainly and under the sanitizers
	scripts/check

build: ## the program, optimised, in build/release/bin
	scripts/install-dependencies
	cmake --preset release
	cmake --build --preset release

bench: build ## tl_hub beside its peers, measured here and now
	scripts/install-dependencies --tests
	bench/run $(BUILD)

model: ## checks the protocol in every interleaving (spin): docs/protocol
	scripts/model

fuzz: ## runs every fuzz target for two minutes (SECONDS=120)
	scripts/fuzz $(SECONDS)

torture: ## kills, stops and cuts off clients of a hub, and checks what is left (SEED=, MINUTES=): docs/reliability.md
	scripts/torture $(if $(SEED),--seed $(SEED)) $(if $(MINUTES),--minutes $(MINUTES))

mutations: ## would the torture notice? breaks the protocol, one way at a time
	scripts/install-dependencies --tests
	tests/torture/mutations.py --report build/mutations.md

install: build ## the program, the C library and its headers (PREFIX=/usr/local, DESTDIR=)
	DESTDIR="$(DESTDIR)" cmake --install $(BUILD) --prefix "$(PREFIX)"

clean: ## removes what was built; hubs and datasets stay
	rm -rf build
