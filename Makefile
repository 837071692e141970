# make demo · make test · make check · make bench DATA=DIR GOLDEN=DIR · make peers · make peers-drr
PYTHON ?= python3
VENV ?= .venv
BIN := $(VENV)/bin
KERNELS := $(wildcard src/homolog/kernels/*.py)

.PHONY: install demo test check format bench peers peers-drr clean

install: $(VENV)/.warm

# pip's own constraint file pins every package, and torch to its CPU build
$(VENV)/.installed: pyproject.toml constraints.txt
	test -x $(BIN)/python || $(PYTHON) -m venv $(VENV)
	$(BIN)/python -m pip install --quiet --disable-pip-version-check -c constraints.txt -e '.[dev]'
	touch $@

# Numba's cache knows a kernel's own file but not the files it inlines from: when one changes, all are compiled anew
$(VENV)/.warm: $(VENV)/.installed $(KERNELS)
	rm -f src/homolog/kernels/__pycache__/*.nbi src/homolog/kernels/__pycache__/*.nbc
	$(BIN)/python -m homolog.kernels.warm
	touch $@

demo: install
	$(BIN)/homolog demo -o demo

test: install
	$(BIN)/python -m pytest

# format, lint, types, and the tests that take no long
check: install
	$(BIN)/ruff format --check .
	$(BIN)/ruff check .
	$(BIN)/mypy
	$(BIN)/python -m pytest -m 'not slow'

format: install
	$(BIN)/ruff format .
	$(BIN)/ruff check --fix .

# without DATA or GOLDEN the benchmarks that need them are left out and keep their committed figures and date
bench: install
	$(BIN)/python benchmarks/run_all.py $(if $(DATA),--data $(DATA)) $(if $(GOLDEN),--golden $(GOLDEN))

# the two rivals that benchmarks run beside us, in an environment of their own: they want older NumPy and SciPy
peers: .venv-peers/.installed

.venv-peers/.installed:
	test -x .venv-peers/bin/python || $(PYTHON) -m venv .venv-peers
	.venv-peers/bin/python -m pip install --quiet --disable-pip-version-check \
	  antspyx==0.6.3 picsl_greedy==1.4.0.3 'numpy<2.4' 'scipy<1.16'
	touch $@

# DiffDRR and nanodrr, for benchmarks/speed/projection.py. DiffDRR without what it lists: that would bring a torch for GPUs
peers-drr: .venv-peers-drr/.installed

.venv-peers-drr/.installed:
	test -x .venv-peers-drr/bin/python || $(PYTHON) -m venv .venv-peers-drr
	.venv-peers-drr/bin/python -m pip install --quiet --disable-pip-version-check -c constraints.txt \
	  torch nanodrr==0.1.7 fastcore pandas
	.venv-peers-drr/bin/python -m pip install --quiet --disable-pip-version-check --no-deps diffdrr==0.6.1
	touch $@

clean:
	rm -rf $(VENV) build dist demo
	find src -name __pycache__ -type d -exec rm -rf {} +
