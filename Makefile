# make demo | test | check: each makes .venv by itself. make benchmark makes .venv-benchmark.
PYTHON ?= python3
VENV ?= .venv
BIN := $(VENV)/bin
READY := $(VENV)/.ready

.PHONY: demo test check slow benchmark format clean

demo: $(READY)
	$(BIN)/patchvlad demo --out demo

test: $(READY)
	$(BIN)/pytest -m "not slow"

slow: $(READY)
	$(BIN)/pytest -m slow

check: $(READY)
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy
	$(BIN)/pytest -m "not slow"

# Beside the reference implementation: make benchmark CHECKPOINT=x_WPCA512.pth.tar SET=folder [DEVICE=cuda]
benchmark: $(VENV)-benchmark/.ready
	$(VENV)-benchmark/bin/python benchmarks/side_by_side.py $(CHECKPOINT) $(SET) --device $(or $(DEVICE),cpu) --json benchmark.json

$(VENV)-benchmark/.ready: pyproject.toml constraints.txt
	$(PYTHON) -m venv $(VENV)-benchmark
	$(VENV)-benchmark/bin/python -m pip install --quiet -c constraints.txt torch
	$(VENV)-benchmark/bin/python -m pip install --quiet -c constraints.txt -e . scikit-learn packaging pandas
	$(VENV)-benchmark/bin/python -m pip install --quiet --no-deps patchnetvlad==0.1.8
	touch $@

format: $(READY)
	$(BIN)/ruff check --fix .
	$(BIN)/ruff format .

# PyTorch is installed first and by its pinned version, so that pip takes the CPU file where there is one.
$(READY): pyproject.toml constraints.txt
	$(PYTHON) -m venv $(VENV)
	$(BIN)/python -m pip install --quiet -c constraints.txt torch
	$(BIN)/python -m pip install --quiet -c constraints.txt -e ".[dev,train]"
	touch $(READY)

clean:
	rm -rf $(VENV) $(VENV)-benchmark demo build *.egg-info
