# Two commands are enough: `make run` and `make test`.
PYTHON ?= python3
VENV ?= .venv
BIN := $(VENV)/bin
PYTHONS := 3.11 3.12 3.13
# Compiled modules and rewritten assertions are kept: without them each start of a process and each worker's collection compiles
# everything again. Many tests wait for processes, so there are two workers more than cores; one that is out of tests takes some from
# another (worksteal), which needs no list of durations.
PYTEST := PYTHONDONTWRITEBYTECODE= $(BIN)/python -m pytest --numprocesses $(shell echo $$(($$(nproc) + 2))) --dist worksteal
SOURCE := foldlog ingest reports compactor shared tests

.DEFAULT_GOAL := help
.PHONY: help setup run demo pictures demo-postgres test test-pythons check programmes audit lock format crash properties mutants soak soak-hosts soak-clickhouse bench load gate-cost hostile red-team fuzz tracker clean

help: ## Show this list
	@grep -E '^[a-z-]+:.*## ' $(MAKEFILE_LIST) | sed -E 's/:.*## /\t/' | expand -t 15

# Every version with its hashes, and what is named there only: of today's ClickHouse (chdb-core-lite) the engine is loaded, and of
# device-detector the data is read, so what else their packages depend on (pyarrow, pandas, …) is left out. pip refuses hashes beside
# --editable, so the project goes in by itself.
LOCKED := $(BIN)/python -m pip install --quiet --disable-pip-version-check --require-hashes --no-deps
LOCKS := locks/service.lock locks/stores.lock locks/build.lock locks/dev.lock
# Another list of user agents that tests measure device classes with; its test is skipped where there is no npm.
NPM_AGENTS = user-agents@2.1.198
# It makes the served script of the readable one; the test that compares them is skipped where there is no npm.
NPM_TERSER = terser@5.44.1
# It checks the types of the dashboard.
NPM_TYPESCRIPT = typescript@5.9.3
# It looks whether everybody can use the dashboard.
NPM_AXE = axe-core@4.10.3
# It gives the page marks: for access, good practice and search, and for speed.
NPM_LIGHTHOUSE = lighthouse@12.8.2
$(VENV)/installed: pyproject.toml $(LOCKS)
	$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11) and "Foldlog needs Python 3.11 or later; try: make PYTHON=python3.11 setup")'
	$(PYTHON) -m venv --clear $(VENV)
	$(LOCKED) $(LOCKS:%=--requirement %)
	$(BIN)/python -m pip install --quiet --disable-pip-version-check --no-deps --no-build-isolation --editable .
	@if command -v npm >/dev/null; then npm install --silent --no-audit --no-fund --ignore-scripts --prefix $(VENV) $(NPM_AGENTS) $(NPM_TERSER) $(NPM_TYPESCRIPT) $(NPM_AXE) $(NPM_LIGHTHOUSE); fi
	@touch $@

setup: $(VENV)/installed ## Make .venv and install everything into it

run: setup ## Serve on http://127.0.0.1:8080 with the data in ./data
	$(BIN)/foldlog serve

demo: setup ## Try it: made-up traffic of a quarter, a link that signs in; Ctrl-C ends and removes it
	@$(BIN)/foldlog demo $(ARGS)

pictures: setup ## Take the pictures of README and docs/demo.md of a demo, with chromium; ARGS=DIR: of every view, into DIR
	$(BIN)/python -m tests.components.pictures $(ARGS)

demo-postgres: setup ## Two hosts of one PostgreSQL, all on this machine; Ctrl-C ends and removes them
	@$(BIN)/python -m tests.components.demo_postgres

test: setup ## The laws, the units, a real process for each promise: four minutes on two cores
	$(PYTEST) -m 'not long and not component and not whole'

test-pythons: $(PYTHONS:%=test-python-%) ## The same on each Python that this machine has: 3.11, 3.12, 3.13

# A pyenv has versions that no command on the path runs. A name on the path may be a shim that runs nothing, and a Python that was
# built without ssl cannot install anything.
test-python-%:
	@for python in /usr/bin/python$* python$* $$(ls -d $(HOME)/.pyenv/versions/$*.*/bin/python 2>/dev/null); do \
	  if $$python -c 'import ssl, venv' 2>/dev/null; then exec $(MAKE) --no-print-directory PYTHON=$$python VENV=.venv-$* test; fi; \
	done; echo 'Python $*: not on this machine, skipped'

check: setup ## Format, lint, types and the tests, with faults and external programs: what CI runs
	$(BIN)/ruff format --check $(SOURCE)
	$(BIN)/ruff check $(SOURCE)
	$(BIN)/mypy
	$(PYTEST) -m 'not whole'

programmes: setup ## Each point, message and seed of what check tries a sample of: a quarter of an hour
	$(PYTEST) -m whole --timeout 1800

audit: setup ## Ask whether flaws of the versions in locks/ are known: high ones fail
	$(LOCKED) --requirement locks/tools.lock
	$(BIN)/python -m tests.dependencies.audit

lock: setup ## Write locks/ anew from constraints.txt and pyproject.toml
	$(LOCKED) --requirement locks/tools.lock
	$(BIN)/python -m tests.dependencies.locks

format: setup ## Format the source and mend what ruff can mend
	$(BIN)/ruff format $(SOURCE)
	$(BIN)/ruff check --fix $(SOURCE)

crash: setup ## Kill, cut the power, fail and damage at full size: hours; tests/faults/RESULTS.md says what came of it
	$(BIN)/python -m tests.faults

properties: setup ## Try each property 2,000 times: hours
	$(PYTEST) -m hypothesis --examples 2000 --timeout 14400

mutants: setup ## Break promises on purpose, and see that the tests notice
	$(BIN)/python -m tests.faults.mutants

soak-hosts: setup ## Half an hour of three hosts on one PostgreSQL, with a fault every few seconds
	$(BIN)/python -m tests.faults.hosts_soak

soak-clickhouse: setup ## Twenty minutes of two hosts on a ClickHouse of two shards, with a fault every few seconds
	$(BIN)/python -m tests.faults.clickhouse_soak

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

red-team: setup ## Try every known attack of one client, reader or neighbour beside its honest control: a quarter of an hour
	$(BIN)/python -m tests.faults.hostile --write docs/hostile-results.md $(ARGS)

fuzz: setup ## Fuzz the door, lines, imports and parameters, then post 1,000,000 fuzzed bodies to a worker
	$(PYTEST) --examples 5000 --timeout 3600 -k fuzz tests/ingest/http tests/shared/segments tests/foldlog/importers tests/reports
	$(LOCKED) --requirement locks/fuzz.lock
	$(BIN)/python -m tests.bench.fuzz

tracker: setup ## Make the served browser script of the readable one, web/tracker/tracker.js
	$(VENV)/node_modules/.bin/terser web/tracker/tracker.js --config-file web/tracker/terser.json --output web/tracker/tracker.min.js

clean: ## Remove environments and caches; never touches ./data
	rm -rf .venv .venv-3.* .mypy_cache .ruff_cache .pytest_cache .hypothesis
