# `make demo` and `make test` are the two commands; both make .venv when there is none.
# `make test` is for every edit. A change lands when the long tests pass as well: `.ci/run` runs `make test` and
# `make long`. `make test-all` is for every release: all tests but the soaks, and the environments of their own.
# `make soak` is for an idle machine: the longest runs, an hour and more.
PYTHON ?= python3
VENV   ?= .venv
# The exact pin takes a CPU build where one is to be had; a looser one pulls the CUDA packages.
TORCH  ?= torch==2.13.0
# Empty for the newest versions that pyproject.toml allows.
CONSTRAINTS ?= --constraint constraints.txt
BIN    := $(VENV)/bin
# What the demo needs, and on top of it what the tests need: each stamp says that its part is installed.
DEMO   := $(VENV)/.demo
READY  := $(VENV)/.ready

# uv where there is one, for all but PyTorch: only pip knows the index that pip was configured to take PyTorch from.
PIP    := $(BIN)/python -m pip install --quiet
UV     ?= $(shell command -v uv 2> /dev/null)
ADD    := $(if $(UV),$(UV) pip install --quiet --python $(BIN)/python,$(PIP))

# Where they are, the light base is tested on these too.
PYTHONS ?= 3.10 3.12 3.13 3.14

# Byte code is kept even where the environment says not to: else each worker and each process of a test compiles anew.
PYTEST  = PYTHONDONTWRITEBYTECODE= OMP_NUM_THREADS=1 TRITON_INTERPRET=1 $(BIN)/python -m pytest

.PHONY: demo test long test-all lint types unit every soak light lowest docs clean

demo: $(DEMO)
	$(BIN)/sparsity-lab demo --output runs/demo

# The types are checked while the tests run, and the environments are made and tested two at a time: each takes one core.
test: $(READY)
	$(MAKE) --jobs lint types unit

test-all: $(READY)
	$(MAKE) --jobs lint types every
	$(MAKE) --jobs light lowest

lint: $(READY)
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .

types: $(READY)
	$(BIN)/mypy

# Two workers, a core each: more threads than cores wait for one another. Each begins with a half in order, so that what
# the tests of a file share is made once, and takes from the other's half when its own is done.
TWO := -n 2 --dist worksteal
unit: $(READY)
	$(PYTEST) $(TWO) -m "not long and not slow and not soak"

long: $(READY)
	$(PYTEST) $(TWO) -m "long and not slow and not soak"

every: $(READY)
	$(PYTEST) $(TWO) -m "not soak"

# One at a time: some of them write down how long things took.
soak: $(READY)
	$(PYTEST) -m soak --basetemp runs/soak

# Environments of their own, in .venv-*: no extras, and the lowest versions of every direct dependency.
light:
	for version in $(PYTHONS); do .ci/apart light $$version || exit 1; done

lowest: $(READY)
	PYTHON=$(abspath $(BIN)/python) .ci/apart lowest
	PYTHON=$(abspath $(BIN)/python) .ci/apart lowest measure

# Every warning is an error, and no network is used once the packages are there: docs/_build/html/index.html.
docs: $(READY) $(VENV)/.ready-docs
	$(BIN)/python -m sphinx --fail-on-warning --keep-going -q -b html docs docs/_build/html

$(VENV)/.ready-docs: pyproject.toml constraints.txt | $(READY)
	$(ADD) --editable ".[docs]" $(CONSTRAINTS)
	touch $@

# The demo imports few of the modules that it installs: they are compiled when they are first used.
$(DEMO): pyproject.toml constraints.txt
	@echo "Installing PyTorch, transformers, and the plotting packages in $(VENV): 1.2 GB with a CPU build of PyTorch, several GB with CUDA. This is done once."
	@test -x $(BIN)/python || $(PYTHON) -m venv $(VENV)
	@$(BIN)/python -m pip install --quiet --upgrade pip
	@$(PIP) --no-compile "$(TORCH)" $(CONSTRAINTS)
	@$(ADD) --no-compile --editable ".[demo]" $(CONSTRAINTS)
	@touch $(DEMO)

$(READY): $(DEMO)
	@echo "Installing what the tests need in $(VENV): 2 GB more. This is done once."
	@$(ADD) --editable ".[measure,cluster,loggers,adapters,dev]" $(CONSTRAINTS)
	@touch $(READY)

clean:
	rm -rf $(VENV) .venv-light-* .venv-lowest-* runs dist build docs/_build docs/reference/generated
