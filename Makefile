# Everything runs in .venv, which `make setup` makes. python3.11 is the one prerequisite.
# EXTRA=gpu installs the CUDA packages; later targets keep what was installed last.
PYTHON ?= $(shell command -v python3.11 || command -v python3)
EXTRA  ?=
BIN    := .venv/bin
ARGS   ?=
JOBS   ?= 2
SHARED := -n $(JOBS) --dist loadfile --no-loadscope-reorder
QUICK  := not slow and not gpu and not cluster

.DEFAULT_GOAL := help
.PHONY: help setup grpo pipeline serve test test-fast test-slow test-cluster test-gpu lint format bench clean

help:  ## show this list
	@awk -F ':.*## ' '/^[a-z-]+:.*## / {printf "make %-10s %s\n", $$1, $$2}' $(MAKEFILE_LIST)

setup:  ## install the pinned packages and fetch the model (2-3 minutes, once)
	@test -n "$(PYTHON)" || { echo "error: Python is not installed: install python3.11 and its venv module" >&2; exit 1; }
	@"$(PYTHON)" scripts/setup.py $(if $(EXTRA),--extra $(EXTRA))

grpo: setup  ## train SmolLM2-135M with GRPO on this CPU, e.g. make grpo ARGS="num_steps=5"
	@$(BIN)/python jobs/grpo.py --config jobs/configs/grpo_smollm2_cpu.yaml $(ARGS)

pipeline: setup  ## PT, SFT, RM, DPO, GRPO and a table of what each changed (docs/PIPELINE.md)
	@PYTHONPATH=. $(BIN)/python scripts/pipeline.py

serve: setup  ## serve what make grpo has trained, on http://127.0.0.1:8000/v1
	@$(BIN)/medray serve runs/grpo $(ARGS)

test: setup lint  ## lint, then every test that needs neither minutes nor a GPU
	@$(BIN)/pytest $(SHARED) -m "$(QUICK)" $(ARGS)

test-fast: setup  ## every test without Ray and vLLM, for each save
	@$(BIN)/pytest $(SHARED) -m "$(QUICK) and not ray" $(ARGS)

test-slow: setup  ## the tests that take minutes or start several Ray nodes
	@$(BIN)/pytest -m "(slow or cluster) and not gpu" $(ARGS)

test-cluster: setup  ## ray up on loopback, submit, scale, a node cut off and back, ray down (root; sshd, rsync)
	@$(BIN)/pytest -s tests/cluster $(ARGS)

test-gpu: setup  ## the tests that need a CUDA device (after make setup EXTRA=gpu)
	@$(BIN)/pytest -m gpu $(ARGS)

lint: setup  ## style, import layers and types
	@$(BIN)/ruff check .
	@$(BIN)/ruff format --check .
	@$(BIN)/lint-imports --no-cache
	@$(BIN)/codespell .
	@$(BIN)/pyright --level error

format:  ## rewrite the code in the project's style
	@$(BIN)/ruff check --fix .
	@$(BIN)/ruff format .

bench: setup  ## how close the update is to what this machine can do (others: ls benchmarks)
	@$(BIN)/python -m benchmarks.roofline $(ARGS)

clean:  ## remove caches and build leftovers (keeps .venv, models and runs)
	@rm -rf build dist .pytest_cache .ruff_cache .hypothesis .import_linter_cache *.egg-info
	@find medray jobs scripts tests benchmarks -name __pycache__ -type d -prune -exec rm -rf {} + 2>/dev/null || true
