# What a user and a maintainer type. Every target works on a fresh machine with Python 3.11, make and git.

PYTHON ?= python3
VENV := .venv
BIN := $(VENV)/bin
PIP := $(BIN)/pip --disable-pip-version-check
READY := $(VENV)/.ready
READY_DEMO := $(VENV)/.ready-demo
DEMO := runs/demo
JOBS ?= 2
SECONDS ?= 600
# Options for the installation of torch, for example its CPU build: --index-url with the address that PyTorch's selector shows.
TORCH_PIP_ARGS ?=

.PHONY: help setup announce demo test test-fast test-long test-anywhere fuzz check audit bench docs pretrained clean

help:  ## this list
	@awk -F ':.*## ' '/^[a-z-]+:.*## / { printf "make %-10s %s\n", $$1, $$2 }' $(firstword $(MAKEFILE_LIST))

setup: $(READY)  ## create .venv with everything that developers need, in the tested versions

# torch comes first, on its own: whatever asks for "torch" later finds it there.
$(READY_DEMO): pyproject.toml constraints.txt
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11) and "Python 3.11 or later is needed; set PYTHON=...")'
	test -x $(BIN)/python || $(PYTHON) -m venv $(VENV)
	$(PIP) install --constraint constraints.txt $(TORCH_PIP_ARGS) torch
	$(PIP) install --constraint constraints.txt --editable .
	@touch $@

$(READY): $(READY_DEMO)
	$(PIP) install --constraint constraints.txt --editable '.[dev]'
	@touch $@

announce:
	@echo "make demo: a data set of built-in solids, a trained model, a report."
	@echo "Takes 3 to 6 minutes on two CPU cores, depending on how fast and how busy they are."
	@test -e $(READY_DEMO) || echo "Before that it installs into $(VENV): 1 to 2 minutes with torch's CPU build (1.3 GB on disk);"
	@test -e $(READY_DEMO) || echo "longer with the CUDA build, which pip takes on Linux by default (3 GB to download). README says how to choose."

demo: announce $(READY_DEMO)  ## a data set of built-in solids, a trained model, a report: runs/demo/report.html
	$(BIN)/plumbline prepare --solids 2000 --samples 4 --views 1-3 --sensor_model depth --out data/demo
	$(BIN)/plumbline prepare --solids 120 --samples 4 --views 1-3 --sensor_model depth --seed 1 --out data/demo-unseen
	$(BIN)/python train_gnn_optimized.py --recipe best --data_dir data/demo --checkpoint_dir $(DEMO)
	$(BIN)/plumbline evaluate $(DEMO) --data_dir data/demo-unseen --out $(DEMO)

test: setup  ## all tests but the long ones
	$(BIN)/pytest --numprocesses $(JOBS) --dist worksteal -m 'not long'

test-fast: setup  ## the quick tests, under a minute: what to run before each commit
	$(BIN)/pytest --numprocesses $(JOBS) --dist worksteal -m 'not slow and not long' --quiet

test-long: setup  ## the tests that take minutes each: a training killed thirty times, and the like
	$(BIN)/pytest -m long -s

test-anywhere: setup  ## all tests again under each condition of other machines that this one can offer: hours
	$(PIP) install --quiet pytest-random-order
	$(BIN)/python -m tests.anywhere --jobs $(JOBS)

fuzz: setup  ## damaged files for every reader, guided by coverage; SECONDS=600 and READER=mesh-ply may be set
	$(PIP) install --quiet --editable '.[fuzz]'
	$(BIN)/python -m tests.reliability.fuzz --seconds $(SECONDS) $(READER)

check: setup  ## style, types, architecture
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy
	$(BIN)/pytest --quiet tests/test_architecture.py

audit: setup  ## known vulnerabilities of the pinned versions; needs a network that reaches the OSV database
	$(PIP) install --quiet pip-audit
	$(BIN)/pip-audit --requirement constraints.txt --no-deps --disable-pip --vulnerability-service osv

bench: setup  ## training throughput compared with the plain program, preparation, reading, opening
	$(BIN)/python -m benchmarks.opening
	$(BIN)/python -m benchmarks.prepare
	$(BIN)/python -m benchmarks.reading
	$(BIN)/python -m benchmarks.training

docs: setup  ## flags and figures of the documentation from the program itself; the README's picture needs make demo
	$(BIN)/python -m docs.build

# Other solids, and other scans of the same meshes.
OTHERS := --seed 2 --solids 4000
# Each step finds what it has finished, and resumes what was interrupted.
pretrained: setup  ## the shipped weights, from solids and real meshes: MESHES=FOLDER; hours (docs/model-card.md)
	$(BIN)/python -m pretrained.link "$(MESHES)"
	$(BIN)/plumbline prepare --config pretrained/prepare.yaml
	$(BIN)/plumbline prepare --config pretrained/prepare.yaml $(OTHERS) --out data/pretrained-scans-2
	$(BIN)/plumbline prepare --config pretrained/prepare.yaml $(OTHERS) --sensor_share 1 --out data/pretrained-scans-camera
	$(BIN)/plumbline train --config pretrained/train.yaml $(if $(wildcard runs/pretrained/last.ckpt),--resume)
	$(BIN)/plumbline train --config pretrained/train.yaml --data_dir data/pretrained-scans data/pretrained-scans-camera \
		--checkpoint_dir runs/pretrained-camera $(if $(wildcard runs/pretrained-camera/last.ckpt),--resume)
	$(BIN)/python -m pretrained.join data/pretrained-scans runs/pretrained runs/pretrained-camera
	$(BIN)/python -m pretrained.pack runs/pretrained-ensemble

clean:  ## remove everything that the targets above made
	rm -rf $(VENV) build dist src/*.egg-info .pytest_cache .ruff_cache .mypy_cache .hypothesis runs data/demo data/demo-unseen data/pretrained-* example
