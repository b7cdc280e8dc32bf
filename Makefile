# make demo    synthetic corpora -> every stage -> table of results        make test   lint and tests
# make table2  every combination of the paper, with the corpora of path_to_data (EPOCHS=2 for a look)
# make study   does pretraining pay, and with how many labels? Hours; stop and start as you like
# Every target makes its own .venv from requirements.txt with the Python that PYTHON names.
SHELL := bash
PYTHON ?= python3
VENV ?= .venv
PY := $(VENV)/bin/python
EPOCHS ?=
ITERATIONS ?= 1
SPEECH := e m x
MUSIC := e m

.PHONY: demo demo-runs test lint format table2 study clean
.DELETE_ON_ERROR:

$(VENV)/runtime: requirements.txt
	$(PYTHON) -m venv $(VENV)
	$(PY) -m pip install --quiet --disable-pip-version-check -r requirements.txt
	touch $@

EXTRAS := $(foreach extra,dask tune tensorboard jax torch workflow,requirements-$(extra).txt)
$(VENV)/dev: requirements-dev.txt $(EXTRAS) $(VENV)/runtime
	$(PY) -m pip install --quiet --disable-pip-version-check -r requirements-dev.txt
	touch $@

# `$(call stage,script.py flags)`: show the line, run it, show what it took; stop at a failure
stage = { echo "\$$ python3 $(1)"; TIMEFORMAT="  (%1R s)"; time $(PY) $(1) || exit $$?; echo; }

# The demo is a graph of the suite's own lines, two at a time. Its corpora are small and quickly
# learnt: small batches, few epochs, larger steps when releasing than for real music.
DEMO_PRETRAIN := --epochs 2 --set pretrain.batch_windows=32
DEMO_TRANSFER := --set transfer.epochs=7 --set transfer.batch_windows=32 \
	--set release.epochs=4 --set release.batch_windows=32 --set release.learning_rate=0.0001
DATA := demo/data/demo.json
SETS := demo/data/features
PAIRS := demo/models_trans
long = $(patsubst e,english,$(patsubst m,mandarin,$(patsubst x,mix,$(1))))
short = $(patsubst e,eng,$(patsubst m,man,$(patsubst x,mix,$(1))))
runs = $(PAIRS)/speech_$(call short,$(1))_2_music_$(call short,$(2))/$(3).it_0/run.json
DEMO_RUNS := $(foreach s,$(SPEECH),$(call runs,$(s),e,model_over.full) \
	$(call runs,$(s),m,model_cpc.full)) $(foreach m,$(MUSIC),$(call runs,none,$(m),model_cnn))

demo: $(VENV)/runtime
	@$(MAKE) --no-print-directory --jobs 2 --output-sync=target demo-runs
	@$(call stage,results_table.py)

demo-runs: $(DEMO_RUNS)
demo demo-runs: export MER_PATH_TO_DATA := demo/data
demo demo-runs: export MER_PATH_TO_MODELS := demo

$(DATA): ; @$(call stage,make_demo_data.py --out demo/data)
$(SETS)/music/english/dataset.json: | $(DATA) ; @$(call stage,generate_dataset.py -d m -l e)
$(SETS)/music/mandarin/dataset.json: | $(DATA) ; @$(call stage,generate_dataset.py -d m -l m)

define speech_rules
$(SETS)/speech/$(call long,$(1))/dataset.json: | $(DATA)
	@$$(call stage,generate_dataset.py -d s -l $(1))
demo/models/speech/$(call long,$(1))/%.it_0/run.json: | $(SETS)/speech/$(call long,$(1))/dataset.json
	@$$(call stage,$$(if $$(filter model_cpc,$$*),pretrain_cpc.py,pretrain_denoise.py) \
		-s $(1) -mod $$* $(DEMO_PRETRAIN))
$(call runs,$(1),e,model_over.full): | $(SETS)/music/english/dataset.json \
		demo/models/speech/$(call long,$(1))/model_over.it_0/run.json
	@$$(call stage,trans_train_denoise_multi.py -s $(1) -m e -mod model_over -rel y $(DEMO_TRANSFER))
$(call runs,$(1),m,model_cpc.full): | $(SETS)/music/mandarin/dataset.json \
		demo/models/speech/$(call long,$(1))/model_cpc.it_0/run.json
	@$$(call stage,trans_train_cpc_multi.py -s $(1) -m m -mod model_cpc -rel y $(DEMO_TRANSFER))
endef
$(foreach s,$(SPEECH),$(eval $(call speech_rules,$(s))))

define music_rules
$(call runs,none,$(1),model_cnn): | $(SETS)/music/$(call long,$(1))/dataset.json
	@$$(call stage,trans_train_denoise_multi.py -s e -m $(1) -mod model_cnn -rel n $(DEMO_TRANSFER))
endef
$(foreach m,$(MUSIC),$(eval $(call music_rules,$(m))))

FLAGS = $(if $(EPOCHS),--epochs $(EPOCHS)) --iterations $(ITERATIONS)
table2: $(VENV)/runtime
	@	for m in $(MUSIC); do $(call stage,generate_dataset.py -d m -l $$m); done; \
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

study: $(VENV)/runtime
	@for m in e; do $(call stage,generate_dataset.py -d m -l $$m); done; \
	for s in $(SPEECH); do $(call stage,generate_dataset.py -d s -l $$s); done; \
	$(call stage,study.py)

# each file of tests in one process, as many at a time as there are cores
test: lint
	$(PY) -m pytest --numprocesses auto --maxprocesses 4 --dist loadfile

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
