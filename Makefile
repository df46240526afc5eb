# make demo: see it work.  make test: know that it works.  Both start from nothing but Python 3.11 or newer.

PYTHON ?= python3
ARGS   ?=
VENV   := .venv
BIN    := $(VENV)/bin
MADE   := pyproject.toml constraints.txt
INSTALL := $(BIN)/python -m pip install --quiet --disable-pip-version-check -c constraints.txt

.PHONY: help demo test fast check docs bench claims clean
.DEFAULT_GOAL := help

help:
	@echo "make demo    install, then generate with every family and write report/index.html (ARGS=\"--minutes 30\")"
	@echo "make test    install, then the whole suite, two workers (ARGS=\"-x\")"
	@echo "make fast    the tests of what was changed since the last commit"
	@echo "make check   ruff, and the direction of imports"
	@echo "make docs    write what is generated in README.md and docs/, then run every document"
	@echo "make bench   the benchmarks"
	@echo "make claims  the experiments whose results are oldest, again (ARGS=\"--num 3\")"
	@echo "make clean   remove .venv and caches (runs/ and report/ stay)"

demo: $(VENV)/installed
	$(BIN)/omniform demo $(ARGS)

test: $(VENV)/installed-test
	OMP_NUM_THREADS=1 $(BIN)/python -m pytest -n 2 --dist worksteal $(ARGS)

fast: $(VENV)/installed-test
	@set -e; tests=$$($(BIN)/python .ci/touched.py); OMP_NUM_THREADS=1 $(BIN)/python -m pytest -n 2 --dist worksteal $(ARGS) $$tests

check: $(VENV)/installed-test
	$(BIN)/ruff check .
	OMP_NUM_THREADS=1 $(BIN)/python -m pytest tests/test_imports.py

docs: $(VENV)/installed-test
	$(BIN)/python docs/generate.py
	OMP_NUM_THREADS=1 $(BIN)/python -m pytest -n 2 --dist worksteal tests/docs

bench: $(VENV)/installed
	@set -e; for script in $$(grep -l __main__ benchmarks/*.py | grep -v same_loss); do echo "== $$script"; OMP_NUM_THREADS=1 $(BIN)/python $$script; done

claims: $(VENV)/installed
	OMP_NUM_THREADS=1 $(BIN)/python experiments/rotation.py $(ARGS)

clean:
	rm -rf $(VENV) build omniform.egg-info .pytest_cache .ruff_cache .hypothesis
	find omniform tests scripts docs examples -name __pycache__ -type d -prune -exec rm -rf {} +

# ---- the environment: made where it is missing, filled again where pyproject.toml or constraints.txt are newer ----------

$(VENV)/installed: $(MADE) | $(VENV)/ready
	@echo "installing into $(VENV) (a minute or so)"
	@$(INSTALL) -e .
	@touch $@

$(VENV)/installed-test: $(MADE) | $(VENV)/ready
	@echo "installing into $(VENV), with what the tests need (a minute or so)"
	@$(INSTALL) -e ".[test]"
	@touch $@ $(VENV)/installed

$(VENV)/ready:
	@$(PYTHON) -c 'import sys; sys.version_info >= (3, 11) or sys.exit("Omniform needs Python 3.11 or newer and this is " + sys.version.split()[0] + "; write make PYTHON=python3.11")'
	@$(PYTHON) -m venv --clear $(VENV)
	@touch $@
