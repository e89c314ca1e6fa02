# `make` lists the targets. Everything runs in .venv, which is made from requirements.txt on first use.
PYTHON ?= python3
WORKERS ?= 2
FUZZ_TARGETS ?=
FUZZ_RUNS ?= 20000

VENV := .venv
RUN := $(VENV)/bin/python
READY := $(VENV)/.requirements-installed
TOOLS := $(VENV)/tools

# the demo: a synthetic dataset in PTB-XL's layout, a short training, a test, one record explained
DEMO_DATA ?= data/synthetic
DEMO_RECORDS ?= 600
DEMO_EPOCHS ?= 8
DEMO_RECORD ?= $(DEMO_DATA)/records100/00000/00001_lr

.DEFAULT_GOAL := help
.PHONY: help venv demo app test unit coverage docs lint format benchmark fuzz lock sbom docker clean

help: ## list the targets
	@awk -F ':.*## ' '/^[a-z-]+:.*## / { printf "  make %-10s %s\n", $$1, $$2 }' $(MAKEFILE_LIST)

venv: $(READY) ## make .venv from requirements.txt (TORCH_INDEX=URL: another source of PyTorch)

$(READY): requirements.txt pyproject.toml .ci/pip-install
	@command -v $(PYTHON) >/dev/null || { echo "no '$(PYTHON)' here: install Python 3.11 or newer, or name it: make PYTHON=python3.12" >&2; exit 1; }
	@$(PYTHON) -c 'import platform, sys; sys.exit(None if sys.version_info >= (3, 11) else "TwelveLead needs Python 3.11 or newer, $(PYTHON) is " + platform.python_version() + ": name a newer one, e.g. make PYTHON=python3.12")'
	@$(PYTHON) -m venv $(VENV) || { echo "$(PYTHON) cannot make virtual environments (Debian and Ubuntu: apt install python3-venv)" >&2; exit 1; }
	.ci/pip-install $(RUN) --disable-pip-version-check --requirement requirements.txt
	$(RUN) -m pip install --disable-pip-version-check --quiet --no-deps --no-build-isolation --editable .
	@touch $@

demo: $(READY) ## first run: synthetic data, train, test, explain one record (about 5 minutes)
	$(RUN) -m databases.synthetic --records $(DEMO_RECORDS) --to $(DEMO_DATA)
	$(RUN) train.py --config configs/demo.yaml --data_dir $(DEMO_DATA) --epochs $(DEMO_EPOCHS) --overwrite
	$(RUN) test.py --data_dir $(DEMO_DATA) --run demo
	$(RUN) inference.py --dir $(DEMO_RECORD) --model imle_net

app: $(READY) ## look at ECGs, predictions and their reasons in a browser
	$(VENV)/bin/twelvelead app

test: $(READY) ## the whole suite; style, types, docstrings and import contract are tests too
	$(RUN) -m pytest --numprocesses $(WORKERS) --dist loadfile --max-worker-restart 1

unit: $(READY) ## the fast tests alone (under a minute)
	$(RUN) -m pytest --numprocesses $(WORKERS) --dist loadfile -m unit

coverage: $(READY) ## lines and branches that the suite runs, subprocesses included, as HTML in htmlcov/
	$(RUN) -m coverage erase
	$(RUN) -m coverage run -m pytest --numprocesses $(WORKERS) --dist loadfile
	$(RUN) -m coverage combine
	$(RUN) -m coverage html
	$(RUN) -m coverage report --skip-covered

docs: $(READY) ## build the documentation in site/, strictly and offline
	$(RUN) -m mkdocs build --strict

lint: $(READY) ## style, types and the import contract alone (seconds)
	$(RUN) -m ruff check .
	$(RUN) -m ruff format --check .
	$(RUN) -m mypy
	$(VENV)/bin/lint-imports

format: $(READY) ## format the code
	$(RUN) -m ruff check --fix .
	$(RUN) -m ruff format .

benchmark: $(READY) ## measure speed and memory, side by side with the reference
	$(RUN) -m benchmarks.speed

$(TOOLS)/.installed: .ci/tools.txt $(READY)
	$(RUN) -m venv $(TOOLS)
	$(TOOLS)/bin/python -m pip install --disable-pip-version-check --quiet --requirement .ci/tools.txt
	@touch $@

fuzz: $(TOOLS)/.installed ## feed damaged files to every reader (FUZZ_TARGETS="wfdb edf", FUZZ_RUNS=N)
	$(RUN) -m tests.fuzz $(FUZZ_TARGETS) --runs $(FUZZ_RUNS)

lock: $(TOOLS)/.installed ## write requirements.lock: every package that requirements.txt brings, with hashes
	$(TOOLS)/bin/uv pip compile requirements.txt --universal --python-version 3.11 --generate-hashes \
		--no-annotate --custom-compile-command "make lock" --system-certs --quiet --output-file requirements.lock

sbom: $(TOOLS)/.installed ## write sbom.json: the packages of .venv as CycloneDX
	$(TOOLS)/bin/cyclonedx-py environment --pyproject pyproject.toml --mc-type application \
		--output-reproducible --validate --output-file sbom.json $(VENV)

docker: ## build the CPU image
	docker build --target cpu --tag twelvelead .

clean: ## remove .venv, caches and the demo's data and run; datasets and other runs stay
	rm -rf $(VENV) .pytest_cache .hypothesis .mypy_cache .ruff_cache .import_linter_cache
	rm -rf $(DEMO_DATA) checkpoints/demo logs/demo results/demo
	find . -name __pycache__ -type d -not -path './data/*' -prune -exec rm -rf {} +
