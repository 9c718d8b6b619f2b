# Two commands for a new machine: `make demo` and `make test`. Both set up all they need
# from the lock file; the machine needs Python 3.11 to 3.13 with pip, and a package index.

PYTHON ?= python3
UV_VERSION := 0.13.8
VENV := .venv
BIN := $(VENV)/bin
SYNCED := $(VENV)/.synced
OUT ?= demo-out
PARALLEL := --numprocesses auto --dist loadfile
# An engine takes all cores, so few of its tests gain by running beside others.
PATIENT := --numprocesses 2 --dist loadfile

export UV_PROJECT_ENVIRONMENT := $(VENV)
export VLLM_NO_USAGE_STATS := 1
# The caller's own environment must not decide what is tested.
unexport VIRTUAL_ENV PYTHONPATH

.PHONY: help setup browser test lint docs test-fast test-engine test-gpu demo clean

help:
	@echo "make demo         probe, plan and compare the demo model; prints a report's path"
	@echo "make test         everything: lint, types, unit and engine tests"
	@echo "make test-fast    without the tests that start a vLLM engine"
	@echo "make test-gpu     the tests that need an NVIDIA GPU"
	@echo "make docs         the documentation as a site, in site/"

$(BIN)/uv:
	@$(PYTHON) -c 'import sys; v = sys.version_info; sys.exit(0 if (3, 11) <= v < (3, 14) else \
	  f"Python {v[0]}.{v[1]} found; hetctl needs 3.11 to 3.13. Run: make PYTHON=python3.11 ...")'
	$(PYTHON) -m venv $(VENV)
	$(BIN)/python -m pip install --quiet --disable-pip-version-check uv==$(UV_VERSION)

# --inexact: uv itself lives in this environment and is not in the lock. Where Python may not write
# bytecode, as in many containers, each process would compile all of vLLM again.
$(SYNCED): pyproject.toml uv.lock $(BIN)/uv
	$(BIN)/uv sync --locked --inexact --group docs --compile-bytecode --python $(BIN)/python
	@touch $@

setup: $(SYNCED)
	$(BIN)/hetctl kernels install

browser:
	@sh tools/browser.sh

lint: $(SYNCED)
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy

# The variable silences the theme's notice about its successor, which is no warning of the build.
# Not --quiet: it would let warnings pass.
docs: $(SYNCED)
	NO_MKDOCS_2_WARNING=1 $(BIN)/mkdocs build --strict
	@echo "site/index.html"

test-fast: setup browser
	$(BIN)/pytest $(PARALLEL) -m "not engine and not gpu"

test-engine: setup
	$(BIN)/pytest $(PATIENT) -m patient tests/e2e
	$(BIN)/pytest -m "engine and not patient and not gpu"

test-gpu: setup
	$(BIN)/pytest -m gpu tests/gpu

test: lint setup browser
	$(BIN)/pytest $(PARALLEL) -m "not engine and not gpu" -q
	$(BIN)/pytest $(PATIENT) -m patient -q tests/e2e
	$(BIN)/pytest -m "(engine and not patient) or gpu"

demo: setup
	@OUT=$(OUT) PATH="$(CURDIR)/$(BIN):$$PATH" sh benchmarks/demo.sh

clean:
	rm -rf $(OUT) dist build site .pytest_cache .mypy_cache .ruff_cache .hypothesis
