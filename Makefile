# Everything happens in .venv, which each target sets up as far as it needs it. `make help` prints
# this list. Times are those of 2 cores; the first run of a target adds up to a minute of set-up.
#
#   make demo          run examples/requests.jsonl against the emulator, with faults; no key, no network; 10 s
#   make demo-queue    2,000 calls through RabbitMQ, with a killed worker; needs RabbitMQ and Redis; 1 min
#   make test          run the tests but those marked `slow`, in parallel; 2 min
#   make test-all      run all tests, in parallel; 6 min
#   make test-aiohttp  run the aiohttp transport's tests on the oldest and the newest aiohttp; 2 min
#   make check         lint, formatting, types, and the size of the core; 1 min
#   make bench         measure what a call costs, beside other clients; some minutes
#   make fleet         simulate 10,000 slots on one rate limit, in virtual time; 1 min
#   make soak          a million calls with faults; most of an hour, Linux only
#   make soak-unasked  calls to servers that send what nobody asked for; 10 min
#   make fuzz          feed the parsers what no server sends, for SECONDS=60; Linux only
#   make clean         remove .venv and what was built
#   make help          print this list
#
# ARGS goes to pytest, the benchmarks, the soak or the fuzzer: make test ARGS="-n 0 -x tests/core"

PYTHON ?= python3
SECONDS ?= 60
BIN := .venv/bin
# One more than there are cores, because many tests wait for a limit of time.
WORKERS ?= $(shell $(PYTHON) -c "import os; print((os.cpu_count() or 1) + 1)")
PYTEST = $(BIN)/pytest --numprocesses $(WORKERS) --dist worksteal

.PHONY: demo demo-queue test test-all test-aiohttp check bench fleet soak soak-unasked fuzz clean help
.DEFAULT_GOAL := test

# The tests start hundreds of interpreters: without caches each would compile everything anew.
unexport PYTHONDONTWRITEBYTECODE

help:
	@sed -n 's/^#   make/make/p' Makefile

$(BIN)/pip:
	$(PYTHON) -m venv .venv

# Dependency groups need pip 25.1, and venv brings the pip that Python was shipped with.
.venv/pip: | $(BIN)/pip
	$(BIN)/python -m pip install --quiet --upgrade "pip>=25.1"
	touch $@

.venv/installed: pyproject.toml | $(BIN)/pip
	$(BIN)/pip install --quiet --editable .
	touch $@

.venv/installed-%: pyproject.toml | .venv/pip
	$(BIN)/pip install --quiet --editable . --group $*
	touch $@ .venv/installed

demo: .venv/installed
	$(BIN)/claude-lite run examples/requests.jsonl --output demo-results.jsonl --force \
		--emulator --faults examples/faults.json
	$(BIN)/python examples/check_results.py examples/requests.jsonl demo-results.jsonl

demo-queue: .venv/installed-queues
	$(BIN)/python examples/queue/demo.py $(ARGS)

test: .venv/installed-test
	$(PYTEST) -m "not slow" $(ARGS)

test-all: .venv/installed-dev
	$(PYTEST) $(ARGS)

test-aiohttp: $(BIN)/pip
	$(BIN)/python tests/transports/aiohttp_versions.py $(ARGS)

check: .venv/installed-dev
	$(BIN)/ruff check
	$(BIN)/ruff format --check
	$(BIN)/mypy
	$(BIN)/pyright
	$(BIN)/python tests/house.py

bench: .venv/installed-bench
	$(BIN)/python -m benchmarks.run $(ARGS)

fleet: .venv/installed
	$(BIN)/python -m benchmarks.fleet --output benchmarks/results $(ARGS)

soak: .venv/installed-bench
	$(BIN)/python -m benchmarks.soak $(ARGS)

soak-unasked: .venv/installed-bench
	$(BIN)/python -m benchmarks.soak_unasked $(ARGS)

fuzz: .venv/installed-dev .venv/installed-fuzz
	$(BIN)/python tests/fuzz/run.py --seconds $(SECONDS) $(ARGS)

clean:
	rm -rf .venv .fuzz dist build demo-results.jsonl .mypy_cache .pytest_cache .ruff_cache .hypothesis
