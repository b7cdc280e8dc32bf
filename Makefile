# make demo    synthetic corpora -> every stage -> table of results        make test   lint and tests
# make table2  every combination of the paper, with the corpora of path_to_data (EPOCHS=2 for a look)
# Every target makes its own .venv from requirements.txt with the Python that PYTHON names.
SHELL := bash
PYTHON ?= python3
VENV ?= .venv
PY := $(VENV)/bin/python
EPOCHS ?=
ITERATIONS ?= 1
SPEECH := e m x
MUSIC := e m
export TF_CPP_MIN_LOG_LEVEL := 3

.PHONY: demo test lint format table2 clean
.DELETE_ON_ERROR:

$(VENV)/runtime: requirements.txt
	$(PYTHON) -m venv $(VENV)
	$(PY) -m pip install --quiet --disable-pip-version-check -r requirements.txt
	touch $@

$(VENV)/dev: requirements-dev.txt $(VENV)/runtime
	$(PY) -m pip install --quiet --disable-pip-version-check -r requirements-dev.txt
	touch $@

# `$(call stage,script.py flags)`: show the line, run it, show what it took; stop at a failure
stage = { echo; echo "\$$ python3 $(1)"; TIMEFORMAT="  (%1R s)"; time $(PY) $(1) || exit $$?; }

# The corpora are small and quickly learnt: few epochs, small batches, larger steps when releasing
DEMO := MER_PATH_TO_DATA=demo/data MER_PATH_TO_MODELS=demo
DEMO_PRETRAIN := --epochs 2 --set pretrain.batch_windows=32
DEMO_TRANSFER := --epochs 6 --set transfer.batch_windows=32 --set release.batch_windows=32 \
	--set release.learning_rate=0.0005

demo: $(VENV)/runtime
	@export $(DEMO); set -e; \
	$(call stage,make_demo_data.py --out demo/data); \
	for m in $(MUSIC); do $(call stage,generate_dataset.py -d m -l $$m); done; \
	for s in $(SPEECH); do $(call stage,generate_dataset.py -d s -l $$s); done; \
	for s in $(SPEECH); do \
	  $(call stage,pretrain_denoise.py -s $$s -mod model_over $(DEMO_PRETRAIN)); \
	  $(call stage,pretrain_cpc.py -s $$s -mod model_cpc $(DEMO_PRETRAIN)); \
	done; \
	for s in $(SPEECH); do \
	  $(call stage,trans_train_denoise_multi.py -s $$s -m e -mod model_over -rel y $(DEMO_TRANSFER)); \
	  $(call stage,trans_train_cpc_multi.py -s $$s -m m -mod model_cpc -rel y $(DEMO_TRANSFER)); \
	done; \
	for m in $(MUSIC); do \
	  $(call stage,trans_train_denoise_multi.py -s e -m $$m -mod model_cnn -rel n $(DEMO_TRANSFER)); \
	done; \
	$(call stage,results_table.py)

FLAGS = $(if $(EPOCHS),--epochs $(EPOCHS)) --iterations $(ITERATIONS)
table2: $(VENV)/runtime
	@set -e; \
	for m in $(MUSIC); do $(call stage,generate_dataset.py -d m -l $$m); done; \
	for s in $(SPEECH); do $(call stage,generate_dataset.py -d s -l $$s); done; \
	for s in $(SPEECH); do \
	  $(call stage,pretrain_denoise.py -s $$s -mod model_over $(FLAGS)); \
	  $(call stage,pretrain_cpc.py -s $$s -mod model_cpc $(FLAGS)); \
	done; \
	for m in $(MUSIC); do \
	  $(call stage,trans_train_denoise_multi.py -s e -m $$m -mod model_cnn -rel n $(FLAGS)); \
	  for s in $(SPEECH); do for rel in n y; do \
	    $(call stage,trans_train_denoise_multi.py -s $$s -m $$m -mod model_over -rel $$rel $(FLAGS)); \
	    $(call stage,trans_train_cpc_multi.py -s $$s -m $$m -mod model_cpc -rel $$rel $(FLAGS)); \
	  done; done; \
	done; \
	$(call stage,results_table.py)

test: lint
	$(PY) -m pytest

lint: $(VENV)/dev
	$(PY) -m ruff check .
	$(PY) -m ruff format --check .

format: $(VENV)/dev
	$(PY) -m ruff check --fix .
	$(PY) -m ruff format .

# artefacts of real runs (models/, models_trans/, results/) are yours and stay
clean:
	rm -rf $(VENV) demo .pytest_cache .ruff_cache .hypothesis
	find . -name __pycache__ -type d -prune -exec rm -rf {} +
