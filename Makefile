# One word does one thing. `make check test` is what a change must pass; `.ci/run` does it all from a clean clone.
SHELL := /bin/bash
.SHELLFLAGS := -euo pipefail -c
.DEFAULT_GOAL := help
.PHONY: help venv servers browser web screenshots view check lint format types layers test test-all test-slow test-oldest test-ray chaos frameworks third-party demo docs bench learn protocol lock clean

# Without bytecode every worker process parses its modules again and starts three times slower.
unexport PYTHONDONTWRITEBYTECODE
# The checkout's root must never be importable: `schedulers.x` and `shoal.schedulers.x` would be two modules.
unexport PYTHONPATH

PYTHON ?= python3
BIN := .venv/bin
STAMP := .venv/.made
# pip takes this first, so that no resolver meets it later and takes the build for another machine: a machine with a GPU
# may say TORCH='torch==2.13.0 --index-url …'.
TORCH ?= torch==2.13.0
INSTALL = $(1)/bin/uv pip install --quiet --python $(1)/bin/python --compile-bytecode

help:  ## this list
	@grep -hE '^[a-z-]+:.*##' $(MAKEFILE_LIST) | sed -E 's/:.*## /\t/' | expand -t 16

venv: $(STAMP)  ## .venv with all that tests, checks and demos need, at the versions in constraints.txt

$(STAMP): pyproject.toml constraints.txt
	test -x $(BIN)/python || $(PYTHON) -m venv .venv
	test -x $(BIN)/uv || $(BIN)/python -m pip install --quiet --disable-pip-version-check uv -c constraints.txt
	$(BIN)/python -m pip install --quiet --disable-pip-version-check $(TORCH) -c constraints.txt
	$(call INSTALL,.venv) --constraints constraints.txt --build-constraints constraints.txt --editable '.[dev,frameworks]'
	touch $@

servers: venv  ## Redis, etcd and sshd for the tests that need them, in .servers unless the machine has them
	$(BIN)/python tools/get_servers.py

browser: venv  ## Chromium and the front end's packages, for the tests of the dashboard and its build
	$(BIN)/python tools/get_browser.py

web: browser  ## build the dashboard's pages, which are committed
	cd plugins/dashboard/web && npm run check && npm run build

screenshots: browser  ## take the pictures in docs/images/dashboard anew
	$(BIN)/pytest tests/dashboard/test_dashboard_pages.py --write-screenshots

view:
	@$(PYTHON_OF_VENV) tools/make_view.py > /dev/null
PYTHON_OF_VENV = $(if $(wildcard $(BIN)/python),$(BIN)/python,$(PYTHON))

check: lint types layers  ## formatting, lint, types of the package, types of the public API, direction of imports

lint: venv
	$(BIN)/ruff format --check .
	$(BIN)/ruff check .

format: venv  ## let ruff write
	$(BIN)/ruff format .
	$(BIN)/ruff check --fix .

types: venv view
	$(BIN)/mypy -p shoal
	$(BIN)/python tools/check_public_types.py

layers: venv view
	PYTHONPATH=.view $(BIN)/lint-imports --no-cache

test: venv servers browser  ## the fast tests, a minute or two
	$(BIN)/pytest -n auto -m "not slow"

test-all: venv servers browser  ## every test
	$(BIN)/pytest -n auto

test-slow: venv servers browser
	$(BIN)/pytest -n auto -m slow

test-oldest: venv servers  ## the fast tests with the lowest versions that pyproject allows
	test -x .venv-oldest/bin/python || $(BIN)/python -m venv --without-pip .venv-oldest
	$(BIN)/uv pip install --quiet --python .venv-oldest/bin/python --compile-bytecode \
	  --resolution lowest-direct --editable '.[dev]'
	.venv-oldest/bin/pytest -n auto -m "not slow"

# Ray brings versions of its own of what it needs, so it has an environment of its own. Now and then a check of Ray's own
# fails in a cancelled task and ends the process ("You have likely discovered a bug in Ray"): hence a process that can be
# replaced (-n 1), and what failed is tried once more.
TEST_RAY = timeout --kill-after=30 15m .venv-ray/bin/pytest -n 1 tests/conformance/test_ray_engine.py tests/onray
test-ray: $(STAMP)  ## the engine `ray`: its contract and our libraries on a real Ray; about six minutes
	test -x .venv-ray/bin/python || $(BIN)/python -m venv --without-pip .venv-ray
	$(BIN)/uv pip install --quiet --python .venv-ray/bin/python --compile-bytecode \
	  --constraints constraints.txt --build-constraints constraints.txt --editable '.[dev,ray]'
	$(TEST_RAY) || $(TEST_RAY) --last-failed --last-failed-no-failures none

# DeepSpeed compiles where it finds a compiler; `ninja` is among what it asks for.
frameworks: $(STAMP)  ## TensorFlow, JAX and DeepSpeed in an environment of their own, for their slow tests; 4 GB
	test -x .venv-frameworks/bin/python || $(BIN)/python -m venv --without-pip .venv-frameworks
	$(BIN)/python -m pip --python .venv-frameworks/bin/python install --quiet --disable-pip-version-check $(TORCH) -c constraints.txt
	$(BIN)/uv pip install --quiet --python .venv-frameworks/bin/python --compile-bytecode \
	  --constraints constraints.txt --build-constraints constraints.txt --editable '.[other-frameworks]'
	.venv-frameworks/bin/python -c 'import deepspeed, jax, tensorflow' > /dev/null 2>&1

chaos: venv  ## two minutes of workloads while workers, nodes and the head are killed; SEED=… replays one
	$(BIN)/python tests/chaos/killer.py --seconds 120 $(if $(SEED),--seed $(SEED))

third-party: venv  ## build, install and use the sample third-party plugin in an environment of its own
	$(BIN)/python tools/check_third_party.py

demo: venv  ## the demo: counts the tokens of the standard library on every core
	$(BIN)/shoal demo

# Both systems as users have them: installed from wheels. An editable install takes 15 ms more to start a process.
bench: $(STAMP)  ## our numbers beside the reference system's and the machine's floor
	test -x .venv-bench/bin/python || $(BIN)/python -m venv --without-pip .venv-bench
	$(BIN)/python -m pip --python .venv-bench/bin/python install --quiet --disable-pip-version-check $(TORCH) -c constraints.txt
	$(BIN)/uv pip install --quiet --python .venv-bench/bin/python --compile-bytecode --reinstall-package shoal \
	  --constraints constraints.txt --build-constraints constraints.txt '.[bench,cluster]'
	rm -rf build
	.venv-bench/bin/python benchmarks/run.py $(BENCH)

docs: venv  ## write the pages that are made from the code
	$(BIN)/python tools/make_docs.py
	$(BIN)/python docs/generate.py

learn: venv  ## let the algorithms of rllib learn, and write the page of what came of it (half an hour)
	$(BIN)/python tools/learn.py

protocol: venv  ## compile the control plane's protocol
	$(BIN)/python tools/make_protocol.py

# What the build of torch for GPUs needs is that build's affair.
lock: venv  ## resolve again and write constraints.txt
	$(BIN)/uv pip compile --quiet --universal --python-version 3.10 --upgrade --no-emit-index-url --no-emit-find-links \
	  --extra dev --extra frameworks --extra bench --extra data --no-annotate --custom-compile-command "make lock" \
	  --constraints <(echo '$(TORCH)') --output-file constraints.txt pyproject.toml
	sed -i -E '/^(cuda|nvidia|triton)(-[a-z0-9-]*)?==/d' constraints.txt

clean:
	rm -rf .venv .venv-oldest .venv-bench .venv-ray .servers .view build dist *.egg-info .mypy_cache .ruff_cache .pytest_cache .hypothesis
