# Everything happens in .venv, which each target sets up as far as it needs it.
#
#   make demo    run examples/requests.jsonl against the emulator, with faults; no key, no network
#   make test    run the tests
#   make test-aiohttp   run those of the aiohttp transport on the oldest and the newest aiohttp
#   make check   lint, formatting, types
#   make bench   measure what a call costs, beside other clients; some minutes
#   make soak    a million calls with faults; most of an hour, Linux only
#   make fuzz    feed the parsers what no server sends, for SECONDS=60; Linux only
#   make clean   remove .venv and what was built

PYTHON ?= python3
SECONDS ?= 60
BIN := .venv/bin

.PHONY: demo test test-aiohttp check bench soak fuzz clean
.DEFAULT_GOAL := test

$(BIN)/pip:
	$(PYTHON) -m venv .venv

.venv/installed: pyproject.toml | $(BIN)/pip
	$(BIN)/pip install --quiet --editable .
	touch $@

# Dependency groups need pip 25.1, and venv brings the pip that Python was shipped with.
.venv/installed-dev: .venv/installed
	$(BIN)/python -m pip install --quiet --upgrade "pip>=25.1"
	$(BIN)/pip install --quiet --group dev
	touch $@

demo: .venv/installed
	$(BIN)/claude-lite run examples/requests.jsonl --output demo-results.jsonl --force \
		--emulator --faults examples/faults.json
	$(BIN)/python examples/check_results.py examples/requests.jsonl demo-results.jsonl

test: .venv/installed-dev
	$(BIN)/pytest $(ARGS)

test-aiohttp: $(BIN)/pip
	$(BIN)/python tests/transports/aiohttp_versions.py

check: .venv/installed-dev
	$(BIN)/ruff check
	$(BIN)/ruff format --check
	$(BIN)/mypy
	$(BIN)/pyright

.venv/installed-bench: .venv/installed
	$(BIN)/python -m pip install --quiet --upgrade "pip>=25.1"
	$(BIN)/pip install --quiet --group bench
	touch $@

bench: .venv/installed-bench
	$(BIN)/python -m benchmarks.run $(ARGS)

soak: .venv/installed-bench
	$(BIN)/python -m benchmarks.soak $(ARGS)

.venv/installed-fuzz: .venv/installed-dev
	$(BIN)/pip install --quiet --group fuzz
	touch $@

fuzz: .venv/installed-fuzz
	$(BIN)/python tests/fuzz/run.py --seconds $(SECONDS) $(ARGS)

clean:
	rm -rf .venv .fuzz dist build demo-results.jsonl .mypy_cache .pytest_cache .ruff_cache .hypothesis
