# Two set-up commands, each enough on a bare machine with Python 3.11 or newer: `make demo` and `make test`.
PYTHON ?= python3
VENV   := .venv
BIN    := $(VENV)/bin
STAMP  := $(VENV)/.installed

.PHONY: demo test test-lowest lint slow fuzz docs clean

demo: $(STAMP)
	$(BIN)/undertow demo --out demo-out --overwrite

# Two processes, a thread each: on two cores twice as fast as one process with two threads.
test: lint
	OMP_NUM_THREADS=1 $(BIN)/python -m pytest -m "not slow" -n 2 --dist loadfile

# The core with the lowest versions that pyproject.toml names, in an environment of its own: the commands of the README, and
# fast tests. A job of its own, since it takes minutes to install. On Linux PyPI has torch with CUDA only, which is large:
# `make test-lowest LOWEST_TORCH=torch==2.11.0+cpu` takes another from wherever pip is told to look.
LOWEST := .venv-lowest
LOWEST_TORCH ?= $(shell grep ^torch== constraints-lowest.txt)
LOWEST_TESTS := tests/base tests/masks tests/video tests/affinity tests/tracking tests/points tests/runs tests/test_lowest.py

test-lowest: $(LOWEST)/.installed
	$(LOWEST)/bin/undertow demo --out demo-out --overwrite
	OMP_NUM_THREADS=1 $(LOWEST)/bin/python -m pytest -m "not slow" -n 2 --dist loadfile $(LOWEST_TESTS)

$(LOWEST)/.installed: pyproject.toml constraints-lowest.txt
	$(PYTHON) -m venv $(LOWEST)
	$(LOWEST)/bin/pip install --quiet $(LOWEST_TORCH)
	grep -v ^torch== constraints-lowest.txt > $(LOWEST)/constraints.txt
	$(LOWEST)/bin/pip install --quiet --constraint $(LOWEST)/constraints.txt $(LOWEST_TORCH) --editable ".[bench]" \
		beartype hypothesis pytest pytest-xdist
	@touch $@

slow: $(STAMP)
	$(BIN)/python -m pytest -m slow

# Each target for a minute; `pip install atheris` makes them look where they have not been yet.
FUZZ_SECONDS ?= 60
fuzz: $(STAMP)
	set -e; for target in fuzz/fuzz_*.py; do $(BIN)/python $$target --seconds $(FUZZ_SECONDS); done

# The site, in site/: notebooks are executed, and a link that leads nowhere is an error.
docs: $(STAMP)
	$(BIN)/pip install --quiet --constraint constraints.txt --editable ".[docs]"
	$(BIN)/python docs/notebooks/build.py
	$(BIN)/zensical build --clean --strict

lint: $(STAMP)
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy

# torch goes first: with it present, nothing else can pull in a newer build with gigabytes of CUDA packages.
$(STAMP): pyproject.toml constraints.txt
	$(PYTHON) -m venv $(VENV)
	$(BIN)/pip install --quiet --constraint constraints.txt torch
	$(BIN)/pip install --quiet --constraint constraints.txt --editable ".[dev]"
	@touch $(STAMP)

clean:
	rm -rf $(VENV) $(LOWEST) demo-out site
