# `make` prints this help. Only make and Python 3.11 or 3.12 are assumed; all else is installed here.
SHELL := /bin/bash
VENV := .venv
BIN := $(VENV)/bin
STAMP := $(VENV)/.installed
DEMO_STATE ?= .rtap-demo
SLOW_TESTS := tests/bench tests/contract tests/integration tests/browser tests/notebooks

.DEFAULT_GOAL := help
.PHONY: help setup demo test long unit check format lock

help: ## Print this help
	@grep -hE '^[a-z]+:.*## ' $(MAKEFILE_LIST) | sed -E 's/^([a-z]+):.*## (.*)/  make \1\t\2/' | expand -t 16

$(STAMP): requirements.lock pyproject.toml
	@python=""; for each in "$$RTAP_PYTHON" python3.12 python3.11 python3 python; do \
	  if [ -n "$$each" ] && "$$each" -c 'import sys; sys.exit(not (3, 11) <= sys.version_info[:2] < (3, 13))' 2>/dev/null; then \
	    python="$$each"; break; fi; done; \
	case "$$(uname -s)" in Linux|Darwin) ;; *) echo "rtap_lab: $$(uname -s) is not supported; use Linux, macOS, or WSL on Windows" >&2; exit 1;; esac; \
	if [ -z "$$python" ]; then echo "rtap_lab needs Python 3.11 or 3.12 (Flink has no others); name one: make setup RTAP_PYTHON=/path/to/python3.12" >&2; exit 1; fi; \
	if ! [ -x $(BIN)/python ] || ! $(BIN)/python -c 'import sys; sys.exit(not (3, 11) <= sys.version_info[:2] < (3, 13))'; then rm -rf $(VENV); "$$python" -m venv $(VENV); fi
	$(BIN)/python -m pip install --disable-pip-version-check -q --require-hashes -r requirements.lock
	$(BIN)/python -m pip install --disable-pip-version-check -q --no-deps --no-build-isolation -e .
	@touch $(STAMP)

setup: $(STAMP) ## Make .venv with everything that the lock names; `rtap` is .venv/bin/rtap

demo: setup ## Set up and run the whole lab: start, simulate, show, verify, down (DEMO_SECONDS=60 ends by itself)
	RTAP_STATE=$(DEMO_STATE) $(BIN)/rtap demo

test: unit ## Set up and run all tests (what is missing here is skipped and named)
	$(BIN)/python -m pytest $(SLOW_TESTS)

long: setup ## Run the tests that take minutes each, for a night (make test leaves them out)
	$(BIN)/python -m pytest -m long

unit: setup ## Run the tests without a stack, two at a time
	$(BIN)/python -m pytest -n 2 tests/unit tests/architecture

check: setup ## Format, lint, types, contracts
	$(BIN)/ruff format --check .
	$(BIN)/ruff check .
	$(BIN)/mypy
	$(BIN)/lint-imports

format: setup ## Format the code
	$(BIN)/ruff format .
	$(BIN)/ruff check --fix .

lock: setup ## Resolve the jars again (needs Maven); the Python lock: see CONTRIBUTING.md
	$(BIN)/python -m rtap_lab.stack.lock
