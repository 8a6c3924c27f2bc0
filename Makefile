# Two commands are enough: `make run` and `make test`.
PYTHON ?= python3
BIN := .venv/bin
# Most tests wait for processes, so more of them than cores. Those of one file share servers, so a file is not divided; files with long
# tests come first (tests/conftest.py).
PYTEST := $(BIN)/python -m pytest --numprocesses 4 --dist loadfile --no-loadscope-reorder
SOURCE := foldlog ingest reports compactor shared tests

.DEFAULT_GOAL := help
.PHONY: help setup run test check format crash mutants soak bench load gate-cost hostile fuzz clean

help: ## Show this list
	@grep -E '^[a-z-]+:.*## ' $(MAKEFILE_LIST) | sed -E 's/:.*## /\t/' | expand -t 12

# pip 23 installs nothing from this file by itself, so it is brought up to date inside the environment first.
.venv/installed: pyproject.toml constraints.txt
	$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11) and "Foldlog needs Python 3.11 or later; try: make PYTHON=python3.11 setup")'
	$(PYTHON) -m venv .venv
	$(BIN)/python -m pip install --quiet --disable-pip-version-check --constraint constraints.txt --upgrade pip
	$(BIN)/python -m pip install --quiet --disable-pip-version-check --constraint constraints.txt --editable '.[dev]'
	@touch $@

setup: .venv/installed ## Make .venv and install everything into it

run: setup ## Serve on http://127.0.0.1:8080 with the data in ./data
	$(BIN)/foldlog serve

test: setup ## Run the test suite, but for what is long: five minutes on two cores
	$(PYTEST) -m 'not long'

check: setup ## Format, lint, types and all tests: what CI runs
	$(BIN)/ruff format --check $(SOURCE)
	$(BIN)/ruff check $(SOURCE)
	$(BIN)/mypy
	$(PYTEST)

format: setup ## Format the source and mend what ruff can mend
	$(BIN)/ruff format $(SOURCE)
	$(BIN)/ruff check --fix $(SOURCE)

crash: setup ## Kill, cut the power, fail and damage at full size: hours; tests/faults/RESULTS.md says what came of it
	$(BIN)/python -m tests.faults

mutants: setup ## Break promises on purpose, and see that the tests notice
	$(BIN)/python -m tests.faults.mutants

soak: setup ## A quarter of an hour of load with a fault every few seconds
	$(BIN)/python -m tests.faults.soak

bench: setup ## Print the table of docs/performance.md, measured now and compared with the last one kept
	$(BIN)/python -m tests.bench $(ARGS)

load: setup ## Play a day of 100,000 users, then latency, isolation and memory under load: half an hour
	$(BIN)/python -m tests.bench.scenario
	$(BIN)/python -m tests.bench.latency
	$(BIN)/python -m tests.bench.isolation
	$(BIN)/python -m tests.bench.memory

gate-cost: setup ## Measure what the gate costs a single event
	$(BIN)/python -m tests.bench.gate_cost

hostile: setup ## Measure what 1,000 slow clients, or bombs at once, do to others and to memory
	$(BIN)/python -m tests.bench.hostile

fuzz: setup ## Post 1,000,000 fuzzed bodies to a worker and check what became of them
	$(BIN)/python -m pip install --quiet --disable-pip-version-check --constraint constraints.txt --editable '.[dev,fuzz]'
	$(BIN)/python -m tests.bench.fuzz

clean: ## Remove .venv and caches; never touches ./data
	rm -rf .venv .mypy_cache .ruff_cache .pytest_cache .hypothesis
