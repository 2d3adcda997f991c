# `make help` lists what there is to do.
# PYTHON=… names an interpreter; without it `tools/find_python.sh` looks for one.
BIN := .venv/bin
VERSIONS := 3.11 3.12 3.13
SOURCES := chassis kernel services cli deploy tools bench tests
BREAKING_BASE ?= $(shell git describe --tags --abbrev=0 2>/dev/null || git rev-parse --verify --quiet origin/main || git rev-parse HEAD)
export PYTHONDONTWRITEBYTECODE := 1

.DEFAULT_GOAL := help
.PHONY: help setup model demo up test test-fast test-fault tools versions check lint format types fences proto gen gen-check docs-check bench lock clean clean-data

help: ## Show this list
	@awk -F ':.*## ' '/^[a-z-]+:.*## / {printf "  \033[1m%-12s\033[0m %s\n", $$1, $$2}' $(MAKEFILE_LIST)

setup: .venv/.ready model ## Install what is needed: Python packages, Kafka's jars, the model (a second run does nothing)
	@$(BIN)/python -m deploy.local.fetch

# PYTHON=… of a version other than that of .venv recreates .venv.
ifdef PYTHON
ifeq ($(wildcard .venv/lib/python$(shell $(PYTHON) -c 'import sys; print("%d.%d" % sys.version_info[:2])')),)
.PHONY: .venv/.ready
endif
endif
.venv/.ready: requirements.lock pyproject.toml
	@sh tools/make_venv.sh .venv

# One environment for each supported version of Python, for `make versions`.
.venv-%/.ready: requirements.lock pyproject.toml
	@sh tools/make_venv.sh .venv-$* $*

model: .venv/.ready ## Train the classifier's model from the texts in the repository (skipped when nothing changed)
	@$(BIN)/paidan model train

demo: setup ## The main job on real parts: 67 requests from a portal to the right units and back
	@$(BIN)/paidan demo

up: setup ## Start everything and keep it running until Ctrl-C
	@$(BIN)/paidan up

test: setup ## All tests but the storms, on a real Kafka and a real PostgreSQL that the run starts itself
	@$(BIN)/python -m pytest -m "not storm"

test-fault: setup ## Fault tests: kill services, broker and database under load, mutate the code, and print a table of recovery times
	@$(BIN)/python -m pytest tests/fault

tools: ## Debian packages that tests use where they are there (kcat); needs root
	@command -v kcat >/dev/null || { apt-get -qq update && apt-get -qq install -y --no-install-recommends kcat >/dev/null; }

test-fast: setup ## Unit and property tests only; no sockets
	@$(BIN)/python -m pytest tests/unit tests/property

versions: setup ## Unit and property tests on each other supported Python that is installed
	@for version in $(VERSIONS); do \
		if [ -e .venv/lib/python$$version ]; then continue; fi; \
		if ! sh tools/find_python.sh $$version >/dev/null 2>&1; then echo "· Python $$version is not installed: skipped"; continue; fi; \
		$(MAKE) --no-print-directory .venv-$$version/.ready || exit 1; \
		echo "· fast tests on Python $$version"; \
		.venv-$$version/bin/python -m pytest --quiet -p no:cacheprovider tests/unit tests/property || exit 1; \
	done

check: setup lint types fences proto gen-check docs-check versions test ## Everything that CI runs

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

lock: ## Regenerate requirements.lock from pyproject.toml; needs uv
	@command -v uv >/dev/null || { echo "uv is needed: pip install uv" >&2; exit 1; }
	@for version in $(VERSIONS); do \
		cp requirements.lock build/$$version.lock; \
		uv pip compile --quiet --python-version $$version --python-platform linux --generate-hashes --no-header --no-annotate \
			--group dev --group local pyproject.toml --output-file build/$$version.lock || exit 1; \
		cmp build/$$version.lock build/$(firstword $(VERSIONS)).lock || exit 1; \
	done
	@cp build/$(firstword $(VERSIONS)).lock requirements.lock

clean: ## Remove what was built here; keeps the download cache and the data of `make up`
	@rm -rf .venv .venv-* build .pytest_cache .mypy_cache .ruff_cache .hypothesis .import_linter_cache
	@if [ -e .local ]; then echo ".local, the data of \`make up\`, is kept; \`make clean-data\` deletes it"; fi

clean-data: ## Delete the data of `make up`: every ticket in them is lost
	@if [ ! -e .local/up ] || flock --nonblock .local/up/.lock true; then rm -rf .local; \
		else echo ".local/up is in use: stop \`make up\` first" >&2; exit 1; fi
