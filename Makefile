# `make help` lists what there is to do.
PYTHON ?= python3
BIN := .venv/bin
SOURCES := chassis services cli deploy tools bench tests
BREAKING_BASE ?= $(shell git describe --tags --abbrev=0 2>/dev/null || git rev-parse --verify --quiet origin/main || git rev-parse HEAD)
export PYTHONDONTWRITEBYTECODE := 1

.DEFAULT_GOAL := help
.PHONY: help setup model demo up test test-fast test-fault tools check lint format types fences proto gen gen-check docs-check bench clean

help: ## Show this list
	@awk -F ':.*## ' '/^[a-z-]+:.*## / {printf "  \033[1m%-12s\033[0m %s\n", $$1, $$2}' $(MAKEFILE_LIST)

setup: .venv/.ready model ## Install what is needed: Python packages, Kafka's jars, the model (a second run does nothing)
	@$(BIN)/python -m deploy.local.fetch

.venv/.ready: requirements.lock pyproject.toml
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info[:2] != (3, 11))' || \
		{ echo "Python 3.11 is needed; $(PYTHON) is another: make PYTHON=/path/to/python3.11 …" >&2; exit 1; }
	@echo "· installing Python packages into .venv (about a minute the first time)"
	@$(PYTHON) -m venv .venv
	@$(BIN)/pip install --disable-pip-version-check --require-hashes --progress-bar on -r requirements.lock \
		$(if $(filter true,$(CI)),--quiet,) | grep -v '^Requirement already satisfied' || true
	@$(BIN)/pip install --disable-pip-version-check --quiet --no-deps --no-build-isolation -e .
	@$(BIN)/python -c 'import grpc, kafka, sqlalchemy, sklearn, paidan.intake.v1'
	@touch $@

model: .venv/.ready ## Train the classifier's model from the texts in the repository (skipped when nothing changed)
	@$(BIN)/paidan model train

demo: setup ## The main job on real parts: 67 requests from a portal to the right units and back
	@$(BIN)/paidan demo

up: setup ## Start everything and keep it running until Ctrl-C
	@$(BIN)/paidan up

test: setup ## All tests but the storms, on a real Kafka and a real PostgreSQL that the run starts itself
	@$(BIN)/python -m pytest -m "not storm"

test-fault: setup ## Those that kill services, broker and database under load, show that the checks have teeth, and storms with a table of recovery times
	@$(BIN)/python -m pytest tests/fault

tools: ## Debian packages that tests use where they are there (kcat); needs root
	@command -v kcat >/dev/null || { apt-get -qq update && apt-get -qq install -y --no-install-recommends kcat >/dev/null; }

test-fast: setup ## Unit and property tests only; no sockets
	@$(BIN)/python -m pytest tests/unit tests/property

check: setup lint types fences proto gen-check docs-check test ## Everything that CI runs

lint: .venv/.ready ## Style of Python, YAML and files for containers
	@$(BIN)/ruff check $(SOURCES)
	@$(BIN)/ruff format --check --quiet $(SOURCES) || { echo "run \`make format\`" >&2; exit 1; }
	@$(BIN)/yamllint --strict proto docs

format: .venv/.ready ## Format Python and proto files
	@$(BIN)/ruff check --fix --quiet $(SOURCES) || true
	@$(BIN)/ruff format $(SOURCES)
	@$(BIN)/buf format --write proto

types: .venv/.ready ## Types of the product and its tools
	@$(BIN)/mypy

fences: .venv/.ready ## Who may import whom
	@PYTHONPATH=. $(BIN)/lint-imports

proto: .venv/.ready ## Contracts: style, format, no breaking change
	@$(BIN)/buf lint proto
	@$(BIN)/buf format --diff --exit-code proto
	@$(BIN)/buf breaking proto --against '.git#ref=$(BREAKING_BASE),subdir=proto'

gen: .venv/.ready ## Generate gen/ from proto/
	@$(BIN)/python -m tools.generate

gen-check: .venv/.ready ## gen/ is what proto/ generates
	@$(BIN)/python -m tools.generate --check

docs-check: .venv/.ready ## Tables in the documentation are those of the code
	@$(BIN)/python -m tools.telemetry_table --check
	@$(BIN)/python -m tools.access_table --check
	@$(BIN)/python -m tools.settings_table --check

bench: setup ## Rates, latencies and memory beside their floors
	@$(BIN)/python -m bench

clean: ## Remove what was built here; keeps the download cache
	@rm -rf .venv build .local .pytest_cache .mypy_cache .ruff_cache .hypothesis .import_linter_cache
