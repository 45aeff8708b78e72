# Every target sets up what it needs: `make figures` on a fresh clone is enough.
PYTHON  ?= python3
PROFILE ?= demo
ARGS    ?=
CPU     :=
VENV    := .venv
BIN     := $(VENV)/bin
READY   := $(VENV)/.ready
# what torch's build for Linux brings and a machine without a GPU never loads
GPU_ONLY := triton|cuda-bindings|cuda-pathfinder|cuda-toolkit|nvidia-cuda-nvrtc|nvidia-cusolver|nvidia-nvtx

.DEFAULT_GOAL := help
.PHONY: help env figures studies report publish test bench lab lint format lock clean

help: ## Show these targets
	@awk -F ':.*## ' '/^[a-z]+:.*## /{printf "  make %-9s %s\n", $$1, $$2}' $(MAKEFILE_LIST)

env: $(READY) ## Make .venv and install the locked requirements; CPU=1 leaves out what only a GPU uses

$(READY): requirements.lock pyproject.toml
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11))' || { \
	  echo "$(PYTHON) is $$($(PYTHON) --version 2>&1): Python 3.11 or newer is needed; name one with 'make env PYTHON=/path/to/python3.11'"; exit 1; }
	@$(PYTHON) -m venv $(VENV) || { \
	  echo "no virtual environment could be made: install Python's venv module (Debian: python3-venv)"; exit 1; }
	$(if $(CPU),grep -vE '^($(GPU_ONLY))==' requirements.lock > $(VENV)/requirements.txt)
	$(BIN)/python -m pip install --quiet --disable-pip-version-check \
	  $(if $(CPU),--no-deps -r $(VENV)/requirements.txt,-r requirements.lock)
	$(BIN)/python -m pip install --quiet --disable-pip-version-check --no-deps --no-build-isolation -e .
	@touch $@

figures: $(READY) ## Run notebooks 01-05, or those that PROFILE names (profiles/: demo, crema_d, crema_studies, compare23, …)
	$(BIN)/python -m emoshare_utils run $(PROFILE) $(ARGS)

studies: $(READY) ## Run the studies too, 06 and later, for what the paper leaves open
	$(BIN)/python -m emoshare_utils run $(PROFILE) --studies $(ARGS)

report: $(READY) ## Write the finished run of PROFILE as one HTML file, report/<run>.html
	$(BIN)/python -m emoshare_utils report $(PROFILE) $(ARGS)

publish: $(READY) ## Renew figures/published/ and docs/notebooks/ by the finished run of PROFILE
	$(BIN)/python -m emoshare_utils publish $(PROFILE) $(ARGS)

test: $(READY) ## Run all tests, the files side by side on all cores
	$(BIN)/python -m pytest -n auto --dist loadfile --no-loadscope-reorder $(ARGS)

bench: $(READY) ## Measure speed and memory against the released recipe: runs/bench/, figures/bench/ (30 minutes)
	$(BIN)/python -m benchmarks.extraction $(ARGS)
	$(BIN)/python -m benchmarks.training
	$(BIN)/python -m benchmarks.small_networks

lab: $(READY) ## Open working copies of the notebooks in JupyterLab, with PROFILE's parameters filled in
	$(BIN)/python -m emoshare_utils lab $(PROFILE) $(ARGS)

lint: $(READY) ## Check formatting, lint, and that notebooks carry no outputs
	$(BIN)/ruff format --check .
	$(BIN)/ruff check .
	$(BIN)/nbstripout --verify notebooks/*.ipynb

format: $(READY) ## Format the code and strip the notebooks
	$(BIN)/ruff format .
	$(BIN)/ruff check --fix .
	$(BIN)/nbstripout notebooks/*.ipynb

lock: ## Resolve requirements.lock again from pyproject.toml (needs uv)
	uv pip compile pyproject.toml --extra dev --universal --python-version 3.11 \
	  --no-emit-index-url --no-emit-find-links --custom-compile-command "make lock" -o requirements.lock

clean: ## Remove what runs made (runs/, figures/, report/ and caches); published figures, lab/ and .venv stay
	rm -rf runs report build .pytest_cache .ruff_cache *.egg-info
	find figures -mindepth 1 -maxdepth 1 -not -name published -exec rm -rf {} +
	find . -name __pycache__ -not -path './.venv/*' -prune -exec rm -rf {} +
