# Everything from a fresh checkout: `make demo` and `make test` set themselves up first.
# Needs Python 3.11 or newer and make; nothing else.

PHOTO ?= otters
OUT ?= demo-out
# How many test processes; the machine's cores, at most four.
JOBS ?= $(shell n=$$(getconf _NPROCESSORS_ONLN 2>/dev/null || echo 2); [ $$n -gt 4 ] && n=4; echo $$n)
# What `make check` runs beside the static checks; CI empties it, having run the tests already.
CHECK_TESTS ?= test
VENV ?= .venv
# The optional data folder, as the tests have it.
SHARED ?= $(or $(PIXWARD_SHARED),../shared/data)
BIN := $(VENV)/bin
STAMP := $(VENV)/.installed
# One thread per test process, or the processes fight for the cores.
TEST_ENV := OMP_NUM_THREADS=1 MKL_NUM_THREADS=1

.DEFAULT_GOAL := help
.PHONY: help setup demo results-edit test lint types spell static check clean

help:  ## this list
	@grep -E '^[a-z-]+:.*##' $(firstword $(MAKEFILE_LIST)) | sed -E 's/^([a-z-]+):.*## */  make \1\t/' | expand -t 16

setup: $(STAMP)  ## a virtual environment with the package and its tools, pinned

$(STAMP): pyproject.toml constraints.txt
	@set -e; python=""; \
	if [ -x $(BIN)/python ]; then python=$(BIN)/python; else \
		for name in $(PYTHON) python3.11 python3.12 python3.13 python3 python; do \
			if command -v $$name >/dev/null 2>&1 && \
			   $$name -c 'import sys; sys.exit(sys.version_info < (3, 11))' 2>/dev/null; then python=$$name; break; fi; \
		done; \
		if [ -z "$$python" ]; then echo "error: needs Python 3.11 or newer; name one with make PYTHON=..." >&2; exit 1; fi; \
		echo "making $(VENV) with $$($$python --version)"; \
		$$python -m venv $(VENV) || { rm -rf $(VENV); \
			echo "error: $$python cannot make virtual environments; on Debian: apt install python3-venv" >&2; exit 1; }; \
	fi
	$(BIN)/python -m pip install --quiet --disable-pip-version-check -c constraints.txt -e '.[dev]'
	@touch $@

demo: $(STAMP)  ## the main job on an example photo: find the sliders that make it look like its goal
	$(BIN)/pixward match examples/photos/$(PHOTO).jpg --goal examples/photos/$(PHOTO)-goal.jpg --out $(OUT) --force
	@echo
	@echo "Look at $(OUT)/$(PHOTO).film.png (source, every render, goal),"
	@echo "        $(OUT)/$(PHOTO).jpg (the edited photo) and $(OUT)/$(PHOTO).setting.json (the sliders)."
	@echo "Other photos: make demo PHOTO=NAME with NAME one of: $(patsubst examples/photos/%-goal.jpg,%,$(wildcard examples/photos/*-goal.jpg))"

results-edit: $(STAMP)  ## every figure of Edit once more, in hours; ARGS=--quick tries it in minutes
	$(BIN)/python benchmarks/edit_all.py --shared $(SHARED) $(ARGS)

test: $(STAMP)  ## the tests
	$(TEST_ENV) $(BIN)/python -m pytest -q -n $(JOBS) $(ARGS)

lint: $(STAMP)
	$(BIN)/ruff format --check
	$(BIN)/ruff check

types: $(STAMP)
	$(BIN)/mypy

spell: $(STAMP)
	$(BIN)/codespell $(wildcard src tests docs examples recipes benchmarks *.md *.toml Makefile .ci)

static: lint types spell  ## format, lint, types, spelling: everything but the tests

check: static $(CHECK_TESTS)  ## all that must hold before a commit

clean:  ## remove what make made, the virtual environment included
	rm -rf $(VENV) $(OUT) .pytest_cache .mypy_cache .ruff_cache .hypothesis
