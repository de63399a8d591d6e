# Two set-up commands, each enough on a bare machine with Python 3.11 or newer: `make demo` and `make test`.
PYTHON ?= python3
VENV   := .venv
BIN    := $(VENV)/bin
STAMP  := $(VENV)/.installed

.PHONY: demo test lint slow fuzz clean

demo: $(STAMP)
	$(BIN)/undertow demo --out demo-out --overwrite

# Two processes, a thread each: on two cores twice as fast as one process with two threads.
test: lint
	OMP_NUM_THREADS=1 $(BIN)/python -m pytest -m "not slow" -n 2 --dist loadfile

slow: $(STAMP)
	$(BIN)/python -m pytest -m slow

# Each target for a minute; `pip install atheris` makes them look where they have not been yet.
FUZZ_SECONDS ?= 60
fuzz: $(STAMP)
	set -e; for target in fuzz/fuzz_*.py; do $(BIN)/python $$target --seconds $(FUZZ_SECONDS); done

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
	rm -rf $(VENV) demo-out
