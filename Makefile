# Two commands do everything: `make quickstart` and `make test`. Both set up what they need in .venv.
PYTHON ?= $(shell command -v python3.11 || command -v python3)
VENV := .venv
BIN := $(CURDIR)/$(VENV)/bin
INSTALLED := $(VENV)/.installed
TEST_PROCESSES ?= 2
export OMP_NUM_THREADS = 1
export PIP_DISABLE_PIP_VERSION_CHECK = 1

.PHONY: quickstart test test-slurm lint bench wheel-smoke clean

quickstart: $(INSTALLED)
	$(BIN)/wombet run quickstart

# A file's tests stay together, so that each process prepares what they share once.
test: $(INSTALLED) lint
	$(BIN)/python -m pytest -n $(TEST_PROCESSES) --dist loadfile

# The same suites on a real Slurm of four nodes on this machine, which root may install; needs no other root rights.
test-slurm: $(INSTALLED)
	WOMBET_SLURM_TESTS=1 $(BIN)/python -m pytest -rs --durations=12 tests/slurm

lint: $(INSTALLED)
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy

bench: $(INSTALLED)
	$(BIN)/python -m benchmarks

# The wheel, in an empty environment and outside of this checkout.
wheel-smoke: $(INSTALLED)
	PYTHON=$(PYTHON) BUILDER=$(BIN)/python sh tests/wheel_smoke.sh

$(INSTALLED): pyproject.toml constraints.txt
	$(PYTHON) -m venv $(VENV)
	$(BIN)/python -m pip install --quiet -c constraints.txt -e '.[dev]'
	touch $(INSTALLED)

clean:
	rm -rf $(VENV) dist build .pytest_cache .mypy_cache .ruff_cache
