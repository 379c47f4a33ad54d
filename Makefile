# Exactly two commands matter to a newcomer: `make demo` and `make test`.
PYTHON ?= python3
VENV   ?= .venv
BIN    := $(VENV)/bin
STAMP  := $(VENV)/.installed
export MLFLOW_DISABLE_TELEMETRY := true
export MYPY_NUM_WORKERS := 2

.PHONY: demo env check test boards soak soak-full processors fuzz perf clean

env: $(STAMP)

$(STAMP): pyproject.toml constraints.txt
	$(PYTHON) -c 'import sys; sys.exit(0 if sys.version_info >= (3, 11) else "prunebench needs Python 3.11 or newer")'
	$(PYTHON) -m venv $(VENV)
	$(BIN)/python -m pip install --quiet --disable-pip-version-check uv
	$(BIN)/uv pip install --quiet --python $(BIN)/python --constraint constraints.txt --editable '.[dev]'
	touch $@

demo: env
	$(BIN)/prunebench demo

check: env
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy
	$(BIN)/lint-imports

test: check
	$(BIN)/pytest -n 2 --dist loadfile --no-loadscope-reorder -m 'not soak and not perf'

boards: env
	PYTHONPATH=tests $(BIN)/python -m support.boards_again

soak: env
	$(BIN)/pytest -m soak

soak-full: env
	PYTHONPATH=tests $(BIN)/python -m support.thousands

processors: env
	PYTHONPATH=tests $(BIN)/python -m support.vector_units $(BIN)/pytest -q \
	  tests/bench/runs/test_processors.py tests/leaderboard/test_published_boards.py

fuzz: env
	PRUNEBENCH_FUZZ=10 $(BIN)/pytest -m 'not soak' tests/fuzz

perf: env
	$(BIN)/pytest -m perf -s

clean:
	rm -rf $(VENV) .pytest_cache .mypy_cache .ruff_cache build dist src/*.egg-info
