# Everything a contributor runs.  `make help` lists it.  Only Python 3.11 or newer with venv is needed; the rest goes into .venv.

PYTHON ?= $(firstword $(foreach v,3.11 3.12 3.13 3.14,$(if $(shell python$(v) -c pass 2>/dev/null && echo yes),python$(v))) python3)
VERSIONS ?= $(foreach v,3.12 3.13 3.14,$(if $(shell python$(v) -c pass 2>/dev/null && echo yes),python$(v)))
VENV := .venv
BIN := $(VENV)/bin
READY := $(VENV)/.ready
LAYERS := kernel journal actors engine sim cli dashboard
export PYRIGHT_PYTHON_IGNORE_WARNINGS := 1

.DEFAULT_GOAL := help
.PHONY: help setup links demo test versions check static format bench bench-sim crash crash-quick damage sim sim-quick clean

help: ## print this list
	@awk -F ':.*## ' '/^[a-z-]+:.*## / { printf "  make %-12s %s\n", $$1, $$2 }' $(MAKEFILE_LIST)

setup: $(READY) links ## make .venv, install everything into it, link the folders for the static tools

# The constraints fix every version; setuptools goes first, so that the build needs no environment of its own.
$(READY): pyproject.toml constraints.txt
	@test -x $(BIN)/python || $(PYTHON) -m venv $(VENV) || { rm -rf $(VENV); bash tools/install-venv.sh && $(PYTHON) -m venv $(VENV); }
	$(BIN)/pip install --quiet --disable-pip-version-check -c constraints.txt pip setuptools
	$(BIN)/pip install --quiet --disable-pip-version-check -c constraints.txt --no-build-isolation -e '.[dev,bench,cli,top,plot,parquet]'
	@touch $(READY)

# mypy and pyright want the installed layout: one link for a layer, one for each file of journeyman/.
links:
	@mkdir -p .build/journeyman
	@for layer in $(LAYERS); do ln -sfn ../../$$layer .build/journeyman/$$layer; done
	@ln -sfn ../_journeyman_pytest.py .build/_journeyman_pytest.py
	@for file in journeyman/*; do test -f $$file && ln -sfn ../../$$file .build/$$file; done
	@rm -rf build/types && mkdir -p build/types && cp -rL .build/journeyman build/types/  # pyright does not follow links

demo: setup ## a durable checksum run over thousands of files, killed half way and started again
	$(BIN)/python examples/demo.py

test: setup ## the test suite
	$(BIN)/python -m pytest -q

# For Pythons that are not found by name: make versions VERSIONS="/opt/python3.12/bin/python3.12 python3.13".
versions: ## the test suite with every newer Python there is here, one after another, each in a venv of its own (slow)
	@for python in $(VERSIONS); do \
	    echo "== $$($$python --version)"; \
	    $(MAKE) --no-print-directory test PYTHON=$$python VENV=.venv-$$($$python -c 'import sys; print("%d.%d" % sys.version_info[:2])') || exit 1; \
	done

check: static test ## format, lint, types (two checkers), tests

static: setup ## the part of check that runs nothing
	$(BIN)/ruff format --check .
	$(BIN)/ruff check .
	MYPYPATH=.build $(BIN)/mypy -p journeyman -m _journeyman_pytest
	$(BIN)/pyright

format: setup ## rewrite the files as ruff wants them
	$(BIN)/ruff check --fix-only --quiet .
	$(BIN)/ruff format .

bench: setup ## measure, with fsync at every commit, against sqlite3 and huey
	$(BIN)/python bench/run.py --without simulation

bench-sim: setup ## measure the simulator: crashes, tasks and a week of virtual time
	$(BIN)/python bench/run.py --only simulation

crash: setup ## the whole crash suite: kills, power cuts, torn writes, failing calls, damaged files
	$(BIN)/python tests/crash/run.py

crash-quick: setup ## two minutes of each
	$(BIN)/python tests/crash/run.py --quick

damage: setup ## every command on every kind of damaged journal, each in a process of its own
	$(BIN)/python -m tests.cli.matrix

sim: setup ## an hour of fresh random seeds in simulated worlds; failing runs are made small and saved
	$(BIN)/journeyman sim run --minutes 60 --twice

sim-quick: setup ## three hundred seeds, each run twice, and every run that once failed
	$(BIN)/journeyman sim run --seeds 0-299 --twice --no-shrink
	$(BIN)/python -m pytest -q tests/sim/test_replay.py -k stays_mended

clean: ## remove everything that was made here
	rm -rf $(VENV) .venv-* .build build dist *.egg-info .pytest_cache .mypy_cache .ruff_cache .hypothesis sim-failures
