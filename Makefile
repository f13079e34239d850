# `make` alone lists what there is. Only Python 3.11 and make have to be there; .venv is made when needed.

.DELETE_ON_ERROR:
.DEFAULT_GOAL := help

# The first of these that is Python 3.11 or newer; `make PYTHON=... setup` chooses another.
PYTHON ?= $(shell for found in python3.11 python3 python; do \
    $$found -c 'import sys; sys.exit(sys.version_info < (3, 11))' 2>/dev/null && echo $$found && break; done)
BIN := .venv/bin
# Written last, so that a set-up that failed half-way is done again.
READY := .venv/.ready

.PHONY: help setup demo test check docs nano clean

help:  ## Show this list.
	@awk -F ':.*## ' '/^[a-z]+:.*## / { printf "  make %-6s %s\n", $$1, $$2 }' $(MAKEFILE_LIST)

setup: $(READY)  ## Make .venv with Handlens and all that the checks need.

demo: $(READY)  ## Draw pictures, train on them and report: two minutes, no network, no data.
	$(BIN)/handlens demo

# One thread of arithmetic a worker: the workers of pytest-xdist already take all cores.
test: $(READY)  ## Run all tests; make test ARGS='tests/unit -k split' runs some.
	OMP_NUM_THREADS=1 $(BIN)/python -m pytest $(ARGS)

check: $(READY)  ## Style, types, direction of the imports, generated docs.
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy src tools
	$(BIN)/lint-imports --no-logo
	$(BIN)/python tools/docs.py --check

docs: $(READY)  ## Write the generated pages of docs/ again.
	$(BIN)/python tools/docs.py

# Three quarters of an hour on two cores; given again after a stop, it goes on. The settings of malloc keep
# glibc from giving large blocks back to the system only to ask for them again: a fifth of the time.
nano: $(READY)  ## Teach the package's own network again, from pictures that formulas draw.
	MALLOC_MMAP_THRESHOLD_=4000000000 MALLOC_TRIM_THRESHOLD_=8000000000 MALLOC_TOP_PAD_=100000000 \
	OMP_NUM_THREADS=1 PYTHONPATH=tools $(BIN)/python -m pretrain_nano $(ARGS)

clean:  ## Remove .venv and everything else that can be made again.
	rm -rf .venv build dist .mypy_cache .ruff_cache .pytest_cache .import_linter_cache .hypothesis
	find src tests tools benchmarks -name __pycache__ -type d -prune -exec rm -rf {} +

$(READY): pyproject.toml constraints.txt
	@test -n "$(PYTHON)" || { echo "Handlens needs Python 3.11 or newer: make setup PYTHON=/path/to/python3.11"; exit 2; }
	@rm -f $@
	@echo "Setting up .venv: a few minutes, of which torch takes most."
	$(PYTHON) -m venv .venv
	$(BIN)/python -m pip install --quiet --disable-pip-version-check -c constraints.txt -e '.[dev]'
	@touch $@
