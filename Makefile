# `make` alone lists the targets.
SHELL := /bin/bash
.SHELLFLAGS := -euo pipefail -c
.DELETE_ON_ERROR:
.DEFAULT_GOAL := help

PREFIX ?= /usr/local
DESTDIR ?=
UNITDIR ?= /etc/systemd/system

VENV := .venv
PY := $(VENV)/bin/python
STAMP := $(VENV)/.made
CODE := $(wildcard src tests lab bench scripts)
TYPED := $(wildcard src tests lab bench scripts/*.py)

## Working on it

.PHONY: setup
setup: system $(STAMP) ## install what is missing: system packages (as root), .venv

.PHONY: system
system:
	@scripts/install-system-packages requirements/debian.txt

$(STAMP): pyproject.toml requirements/dev.txt scripts/make-venv
	@scripts/make-venv
	@touch $@

.PHONY: demo
demo: setup ## a server and clients, some behind NATs, in network namespaces, shown as it happens
	@$(PY) -m lab.demo

.PHONY: test
test: setup ## all tests but those in the kernel; coverage of model, protocol, core is total
	@scripts/run-tests $(TESTS)

.PHONY: test-kernel
test-kernel: setup ## the lab inside a User-Mode-Linux kernel with WireGuard, in virtual time
	@$(PY) -m lab.kernel test

.PHONY: lint
lint: $(STAMP) ## formatting, style, types, floors, and the rules of the repository
	$(VENV)/bin/ruff format --check $(CODE)
	$(VENV)/bin/ruff check $(CODE)
	$(VENV)/bin/mypy $(TYPED)
	$(VENV)/bin/lint-imports
	$(PY) scripts/check_repository.py

.PHONY: format
format: $(STAMP) ## format the code and repair what can be repaired
	$(VENV)/bin/ruff format $(CODE)
	$(VENV)/bin/ruff check --fix $(CODE)

.PHONY: bench
bench: setup ## measure; figures as JSON and as a table
	@$(PY) -m bench

.PHONY: requirements
requirements: $(STAMP) ## pin anew: requirements/*.txt from pyproject.toml
	@scripts/pin-requirements

## Building and installing

.PHONY: build
build: $(STAMP) ## bin/vpn-server, vpn-client and vpn-relay, single files that need only Python
	@$(PY) scripts/build_single_files.py

.PHONY: install
install: ## as root: programs to PREFIX/bin, units to UNITDIR (DESTDIR is honoured)
	@if ! [ -x bin/vpn-server -a -x bin/vpn-client -a -x bin/vpn-relay ]; then $(MAKE) --no-print-directory build; fi
	@PREFIX='$(PREFIX)' DESTDIR='$(DESTDIR)' UNITDIR='$(UNITDIR)' packaging/install.sh install

.PHONY: uninstall
uninstall: ## as root: remove what install put there
	@PREFIX='$(PREFIX)' DESTDIR='$(DESTDIR)' UNITDIR='$(UNITDIR)' packaging/install.sh uninstall

.PHONY: clean
clean: ## remove what was made here, .venv too
	rm -rf $(VENV) bin build dist htmlcov .coverage .coverage.* .mypy_cache .ruff_cache .pytest_cache .hypothesis \
		.import_linter_cache
	find src tests lab bench scripts -name __pycache__ -type d -prune -exec rm -rf {} + 2>/dev/null || true

.PHONY: help
help: ## this list
	@awk -F ':.*## ' '/^## / { printf "%s%s:\n", sep, substr($$0, 4); sep = "\n" } \
		/^[a-z-]+:.*## / { printf "  make %-13s %s\n", $$1, $$2 }' $(MAKEFILE_LIST)
