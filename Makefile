# What a user and a maintainer type. Every target works on a fresh machine with Python 3.11, make and git.

PYTHON ?= python3
VENV := .venv
BIN := $(VENV)/bin
READY := $(VENV)/.ready
DEMO := runs/demo
JOBS ?= 2
SECONDS ?= 600

.PHONY: setup demo test test-long fuzz check audit bench docs clean

setup: $(READY)  ## create .venv with the tested versions of everything

# torch comes first, on its own: whatever asks for "torch" later finds it there.
$(READY): pyproject.toml constraints.txt
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11) and "Python 3.11 or later is needed; set PYTHON=...")'
	test -x $(BIN)/python || $(PYTHON) -m venv $(VENV)
	$(BIN)/pip install --quiet --disable-pip-version-check --constraint constraints.txt torch
	$(BIN)/pip install --quiet --disable-pip-version-check --constraint constraints.txt --editable '.[dev]'
	@touch $@

demo: setup  ## a data set of built-in solids, a trained model, a report: runs/demo/report.html
	$(BIN)/plumbline prepare --solids 2000 --samples 4 --views 1-3 --out data/demo
	$(BIN)/plumbline prepare --solids 120 --samples 4 --views 1-3 --seed 1 --out data/demo-unseen
	$(BIN)/python train_gnn_optimized.py --recipe best --data_dir data/demo --checkpoint_dir $(DEMO)
	$(BIN)/plumbline evaluate $(DEMO) --data_dir data/demo-unseen --out $(DEMO)

test: setup  ## all tests
	$(BIN)/pytest --numprocesses $(JOBS) --dist worksteal -m 'not long'

test-long: setup  ## the tests that take minutes each: a training killed thirty times, and the like
	$(BIN)/pytest -m long -s

fuzz: setup  ## damaged files for every reader, guided by coverage; SECONDS=600 and READER=mesh-ply may be set
	$(BIN)/pip install --quiet --disable-pip-version-check --editable '.[fuzz]'
	$(BIN)/python -m tests.reliability.fuzz --seconds $(SECONDS) $(READER)

check: setup  ## style, types, architecture
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy
	$(BIN)/pytest --quiet tests/test_architecture.py

audit: setup  ## known vulnerabilities of the pinned versions; needs a network that reaches the OSV database
	$(BIN)/pip install --quiet --disable-pip-version-check pip-audit
	$(BIN)/pip-audit --requirement constraints.txt --no-deps --disable-pip --vulnerability-service osv

bench: setup  ## training throughput beside the plain program, preparation, opening
	$(BIN)/python -m benchmarks.opening
	$(BIN)/python -m benchmarks.prepare
	$(BIN)/python -m benchmarks.training

docs: setup  ## flags and figures of the documentation from the program itself
	$(BIN)/python -m docs.build

clean:  ## remove everything that the targets above made
	rm -rf $(VENV) build dist src/*.egg-info .pytest_cache .ruff_cache .mypy_cache .hypothesis runs data/demo data/demo-unseen
