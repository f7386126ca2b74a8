# Everything works from a fresh clone with Python 3.11+, make and a package index.
#
# CPU-only torch: constraints.txt names a version; where the index offers a CUDA build under it, ask for the CPU one:
#   make setup PIP_ARGS="--extra-index-url https://download.pytorch.org/whl/cpu"
# Your own CUDA build or other versions:
#   make setup CONSTRAINTS=my-constraints.txt

PYTHON ?= $(firstword $(foreach name,python3.11 python3.12 python3.13 python3,\
            $(shell $(name) -c 'print("$(name)")' 2>/dev/null)))
CONSTRAINTS ?= constraints.txt
PIP_ARGS ?=
SWEEP_ARGS ?=
SERVE_ARGS ?=
BENCH_ARGS ?=
GOOD_ARGS ?=
BIN := .venv/bin

# What needs no cluster runs on all cores, a process on each; what starts one, two files at a time with a cluster each.
# The files with the longest tests begin.
PYTEST := $(BIN)/python -m pytest --no-loadscope-reorder
WITHOUT_RAY := OMP_NUM_THREADS=1 $(PYTEST) -n auto --maxprocesses=4
WITH_RAY := $(PYTEST) -n 2 --dist loadfile

.PHONY: setup sweep serve test test-slow test-all docs lint format bench ui clean

setup: .venv/installed

.venv/installed: pyproject.toml $(CONSTRAINTS)
	@test -n "$(PYTHON)" || { echo "Python 3.11 or newer is needed and was not found."; exit 1; }
	$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11) and "Python 3.11 or newer is needed.")'
	test -x $(BIN)/python || $(PYTHON) -m venv .venv
	$(BIN)/python -m pip install --quiet --disable-pip-version-check -c $(CONSTRAINTS) $(PIP_ARGS) -e '.[platform,dev]'
	touch $@

sweep: setup  ## the main job: about seven minutes on two cores; options through SWEEP_ARGS="--trials 20 …"
	$(BIN)/python tune/sweep_async_ratio.py --out runs/sweep-$$(date +%Y%m%d-%H%M%S) $(SWEEP_ARGS)

serve: setup  ## molecules over HTTP on http://127.0.0.1:8000; options through SERVE_ARGS="--port 8001 checkpoint=runs/mine"
	$(BIN)/python -m serve $(SERVE_ARGS)

test: lint docs  ## every behaviour; long stories in a short form
	$(WITHOUT_RAY) -m "not ray and not slow" tests/e2e tests/platform_glue tests
	$(WITH_RAY) -m "ray and not slow" tests/platform_glue

test-slow: setup  ## the long stories, marked `slow`: what has to fail, wait, and be found whole; see docs/decisions/030
	$(WITHOUT_RAY) -m "not ray and slow" tests
	$(WITH_RAY) -m "ray and slow" tests/platform_glue tests/e2e

test-all: test test-slow

docs: setup  ## the documentation as a site, in site/index.html; a broken link fails
	NO_MKDOCS_2_WARNING=1 $(BIN)/mkdocs build --strict --quiet

lint: setup
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy

format: setup
	$(BIN)/ruff check --fix .
	$(BIN)/ruff format .

bench: setup  ## speed and the cost of a good molecule beside EDM's way; novelty and metrics too: make bench DATA=qm9.npz
	$(BIN)/python benchmarks/speed.py $(BENCH_ARGS)
	$(BIN)/python benchmarks/good_molecule.py $(if $(DATA),--known $(DATA)) $(GOOD_ARGS)
	$(if $(DATA),$(BIN)/python benchmarks/metrics.py --data $(DATA))

ui: setup  ## compare runs in the browser
	$(BIN)/mlflow ui --backend-store-uri $${MLFLOW_TRACKING_URI:-sqlite:///mlflow.db} --host 127.0.0.1 --port 5000

clean:
	rm -rf .venv site
