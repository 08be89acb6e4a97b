# make serve | test | test-all | bench | check | clean
VENV := .venv
BIN := $(VENV)/bin
# The first of these that is new enough; `make PYTHON=... serve` for another one.
PYTHON ?= $(shell for python in python3 python3.14 python3.13 python3.12 python3.11; do \
	$$python -c 'import sys; sys.exit(sys.version_info < (3, 11))' 2>/dev/null && echo $$python && break; done)

.PHONY: serve test test-all bench check clean

serve: $(VENV)/.serve
	@$(BIN)/edgecache serve

test: $(VENV)/.dev
	@$(BIN)/python -m pytest -q -m "not slow" -n 2 --dist loadfile

test-all: $(VENV)/.dev
	@$(BIN)/python -m pytest -q

bench: $(VENV)/.bench
	@$(BIN)/python -m bench all

check: $(VENV)/.dev
	@$(BIN)/ruff check . && $(BIN)/ruff format --check . && $(BIN)/mypy

$(BIN)/python:
	@test -n "$(PYTHON)" || { echo "edgecache needs Python 3.11 or newer; none was found. PYTHON=... names one." >&2; exit 1; }
	@$(PYTHON) -c 'import ensurepip' || { echo "$(PYTHON) cannot make environments (Debian: apt-get install python3-venv)." >&2; exit 1; }
	$(PYTHON) -m venv $(VENV)

# Each mark is touched only when all before it went well, so that what was interrupted is done again.
$(VENV)/.serve: pyproject.toml | $(BIN)/python
	$(BIN)/python -m pip install --quiet --upgrade "pip>=25.1"
	$(BIN)/python -m pip install --editable .
	@touch $@

$(VENV)/.dev: $(VENV)/.serve
	$(BIN)/python -m pip install --quiet --group dev
	@touch $@

$(VENV)/.bench: $(VENV)/.dev
	$(BIN)/python -m pip install --quiet --group bench
	@touch $@

clean:
	rm -rf $(VENV) build dist *.egg-info
