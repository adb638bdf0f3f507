# make demo   train an agent on embedded data and compare it with chance, a classical method and an expert
# make test   all tests
# make check  lint, types, import layers and the fast tests, for while you work
.PHONY: demo test check lint format

PYTHON ?= $(shell command -v python3.11 || echo python3)
VENV := .venv
BIN := $(VENV)/bin
READY := $(VENV)/.ready
export OMP_NUM_THREADS ?= 1
export OPENBLAS_NUM_THREADS ?= 1

demo: $(READY)
	$(BIN)/python examples/train_dqn.py --name demo --timesteps 200000 $(if $(wildcard runs/demo/config.json),--resume)

test: $(READY)
	$(BIN)/python -m pytest -n 2 --dist worksteal

check: lint
	$(BIN)/python -m pytest -n 2 --dist worksteal -m "not slow"

lint: $(READY)
	$(BIN)/ruff check
	$(BIN)/ruff format --check
	$(BIN)/lint-imports
	$(BIN)/mypy

format: $(READY)
	$(BIN)/ruff check --fix
	$(BIN)/ruff format

$(READY): pyproject.toml
	$(PYTHON) -m venv $(VENV)
	$(BIN)/python -m pip install --quiet --upgrade pip
	$(BIN)/python -m pip install --quiet --editable . --group dev
	touch $(READY)
