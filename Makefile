# `make demo` and `make test` do all of the set-up.
PYTHON ?= python3
VENV := .venv
BIN := $(VENV)/bin
INSTALLED := $(VENV)/.installed
DEVELOPING := $(VENV)/.installed-dev
PIP := $(BIN)/python -m pip --disable-pip-version-check install --quiet

export BEACONHUNT_HOME ?= $(CURDIR)/.beaconhunt
export DO_NOT_TRACK = 1
# If it is set, every process compiles all of Prefect and beaconhunt again, for 3 s of CPU.
unexport PYTHONDONTWRITEBYTECODE

.PHONY: demo test test-deep lint bench bench-quick up pictures lock clean

demo: $(INSTALLED)  ## Hunt two made-up clusters for three days and print the digests.
	$(BIN)/beaconhunt demo

# The slowest test files have few tests, and by default xdist would start them last.
test: $(DEVELOPING)  ## Run every test.
	$(BIN)/pytest --numprocesses auto --dist loadfile --no-loadscope-reorder

test-deep: $(DEVELOPING)  ## Run the property tests with twenty times as many examples; takes an hour.
	BEACONHUNT_TEST_EFFORT=20 $(BIN)/pytest --numprocesses auto --dist loadfile \
	  $$(grep -rl --include="test_*.py" "tests.effort import" tests)

lint: $(DEVELOPING)  ## Check style, types and the one-way flow of imports.
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy
	$(BIN)/lint-imports

bench: $(DEVELOPING)  ## Run the benchmarks and print their results as ratios within one run.
	$(BIN)/python -m tests.benchmarks.run

bench-quick: $(DEVELOPING)  ## Run the benchmarks at small sizes, in at most three minutes.
	$(BIN)/python -m tests.benchmarks.run --quick

up: $(INSTALLED)  ## Start server, work pool, deployments, automation and worker; Ctrl-C ends them all.
	$(BIN)/beaconhunt up

$(INSTALLED): requirements.lock pyproject.toml
	@$(PYTHON) -c 'import sys; sys.exit(not (3, 11) <= sys.version_info[:2] < (3, 14))' \
	  || { echo "beaconhunt needs Python 3.11 to 3.13; name one with: make PYTHON=python3.12"; exit 1; }
	$(PYTHON) -m venv $(VENV)
	$(PIP) --no-deps --require-hashes -r requirements.lock
	$(PIP) --no-deps --no-build-isolation --editable .
	@touch $@

$(DEVELOPING): $(INSTALLED) requirements-dev.lock
	$(PIP) --no-deps --require-hashes -r requirements-dev.lock
	@touch $@

pictures: $(DEVELOPING) demo  ## Take the README's pictures of the demo's pages; needs chromium.
	$(BIN)/python -m tests.browser.pictures

# A worker gets no test server, no browser driver: two locks, with the same versions.
RESOLVE = uv pip compile --quiet --universal --python-version 3.11 --generate-hashes \
  --no-emit-index-url --no-header pyproject.toml

lock:  ## Resolve pyproject.toml again, for Linux and macOS and Python 3.11 to 3.13; needs uv.
	$(RESOLVE) --extra build --extra postgresql --extra s3 --output-file requirements.lock
	$(RESOLVE) --extra dev --constraint requirements.lock --output-file requirements-dev.lock

clean:  ## Delete the virtual environment; history, archive and demo stay.
	rm -rf $(VENV)
