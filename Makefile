# Every command of daily work. `make` alone lists them.

VENV := .venv
BIN := $(VENV)/bin
# Newer than pyproject.toml and constraints.txt when what they ask for is installed.
STAMP := $(VENV)/installed.stamp
# The web page, newer than its sources when it is built from them.
PAGE := src/taskqueuex/dashboard/static/index.html
PAGE_SOURCES := $(shell find dashboard -name node_modules -prune -o -type f -print) scripts/build_dashboard.sh

KILLS ?= 5000
FUZZ_SECONDS ?= 3600
ARGS ?=

.DEFAULT_GOAL := help
.PHONY: help setup dashboard serve test lint types contract check bench demo docs screenshots design-map torture fuzz clean

help: ## list the targets
	@awk -F ':.*## ' '/^[a-z-]+:.*## / {printf "  make %-11s %s\n", $$1, $$2}' $(MAKEFILE_LIST)

setup: $(STAMP) ## install everything into .venv, at the versions of constraints.txt

$(STAMP): pyproject.toml constraints.txt scripts/make_venv.sh
	test -x $(BIN)/python || sh scripts/make_venv.sh $(VENV)
	$(BIN)/python -m pip install --quiet --disable-pip-version-check -c constraints.txt -e '.[dev]'
	touch $@

dashboard: $(PAGE) ## build the web page, where its sources have changed

$(PAGE): $(PAGE_SOURCES)
	sh scripts/build_dashboard.sh

serve: setup dashboard ## run a server on 127.0.0.1:7470; ARGS="--listen 127.0.0.1:8000" adds flags
	$(BIN)/tqx serve $(ARGS)

test: setup dashboard ## run all tests; ARGS="tests/engine -x" chooses some
	$(BIN)/python -m pytest $(ARGS)

lint: setup ## ruff: rules and format
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .

types: setup ## mypy --strict
	$(BIN)/mypy --strict

contract: setup ## the one-way doors between the rooms
	$(BIN)/lint-imports

check: lint types contract test ## all that must pass before a change goes in

bench: setup ## measure the server and its peers side by side; ARGS="--quick" for a short round
	sh benchmarks/install_peers.sh
	$(BIN)/python benchmarks/run.py $(ARGS)

demo: setup ## a trading day on real prices through queues, live; ARGS="--bars 500 --seconds 5" for a short one
	cd examples && ../$(BIN)/python -m trading $(ARGS)

docs: setup ## build the site of the documentation into build/site
	NO_MKDOCS_2_WARNING=1 $(BIN)/python -m mkdocs build --quiet --strict $(ARGS)

screenshots: setup dashboard ## pictures of the web page of a trading desk at work, into build/scene
	sh scripts/install_browser.sh
	$(BIN)/python -m tests.dashboard.scene build/scene

design-map: setup ## measure what docs/design-map.md quotes
	for script in threaded_server locks handover cold_reads objects order_keys payloads store_calls \
		connections allocators; do \
		echo "== $$script"; $(BIN)/python benchmarks/design_map/$$script.py || exit 1; \
	done

torture: setup ## kill a server thousands of times and check what its clients saw; KILLS=200 ARGS="--seed 7"
	$(BIN)/python -m tests.torture --kills $(KILLS) $(ARGS)

fuzz: setup ## give sessions and parsers what nobody would send, for an hour; FUZZ_SECONDS=300
	TQX_FUZZ_SECONDS=$(FUZZ_SECONDS) $(BIN)/python -m pytest tests/fuzz -s --timeout 0 $(ARGS)

clean: ## remove the environment and everything that was generated
	rm -rf $(VENV) build dist .pytest_cache .mypy_cache .ruff_cache .hypothesis .import_linter_cache
	rm -rf dashboard/node_modules src/taskqueuex/dashboard/static
	rm -rf src/*.egg-info benchmarks/load benchmarks/results.json schemathesis-report
	find . -name __pycache__ -type d -prune -exec rm -rf {} +
