# The project's commands. `make` alone lists them.
SHELL := /bin/bash
PYTHON ?= python3
VENV := .venv
BIN := $(VENV)/bin
export PATH := $(CURDIR)/$(BIN):$(PATH)
export TF_CPP_MIN_LOG_LEVEL ?= 3
export DO_NOT_TRACK ?= 1
# Each stage is a separate process: without byte code each would compile TensorFlow again and take three times as long.
unexport PYTHONDONTWRITEBYTECODE
# Servers on this machine are reached directly, even if a proxy is configured, as components/runtime/environment.py has it.
comma := ,
export NO_PROXY := $(if $(filter *,$(or $(no_proxy),$(NO_PROXY))),*,$(addsuffix $(comma),$(or $(no_proxy),$(NO_PROXY)))127.0.0.1$(comma)localhost$(comma)::1)
export no_proxy := $(NO_PROXY)
# A container's arbitrary user id has no name, which DVC answers with an error.
ifeq ($(LOGNAME)$(USER),)
export LOGNAME := $(shell id -un >/dev/null 2>&1 && id -un || echo "user id $$(id -u)")
endif
ifdef PREFECT_SERVER_API_AUTH_STRING
export PREFECT_API_AUTH_STRING ?= $(PREFECT_SERVER_API_AUTH_STRING)
endif
UI_PORT ?= 5000
# A killed checkout leaves part of the files, which DVC would treat as the dataset.
CHECKOUT := .dvc/tmp/lesionflow-checkout
PULLED = test -d data -a -d weights -a ! -e $(CHECKOUT)
PULL = mkdir -p .dvc/tmp && touch $(CHECKOUT) && dvc pull data.dvc weights.dvc && rm $(CHECKOUT)
PREFECT_API ?= $(or $(PREFECT_API_URL),http://127.0.0.1:4200/api)

.DEFAULT_GOAL := help
.PHONY: help setup data run check test test-kill test-evidence test-architectures test-forms test-experiments test-sharing test-recovery test-api test-install test-postgresql test-search lint format docs lock report ui server deploy worker starter clean bench

help:  ## list these commands
	@grep -E '^[a-z-]+:.*##' $(MAKEFILE_LIST) | sed -E 's/^([a-z-]+):.*## (.*)/  make \1\t\2/' | expand -t 28

# An environment contains absolute paths. One that was copied from another folder would run the code there, so it is created again.
ifneq ($(shell cat $(VENV)/.ready 2>/dev/null),$(CURDIR))
.PHONY: $(VENV)/.ready
endif

# An unpacked archive has no .git folder: DVC needs to know that, and to forget it once there is one.
define scm
@if test -e .git; then ! grep -qs no_scm .dvc/config.local || dvc config --local --unset core.no_scm; \
	else dvc config --local core.no_scm true; fi
endef

setup: $(VENV)/.ready  ## make .venv with the exact versions of requirements.lock

$(VENV)/.ready: requirements.lock pyproject.toml
	@$(PYTHON) -c 'import sys; sys.exit(not (3, 11) <= sys.version_info[:2] < (3, 14))' || \
		{ echo "error: $$($(PYTHON) --version) is not 3.11, 3.12 or 3.13; name one: make $(MAKECMDGOALS) PYTHON=python3.12"; exit 1; }
	@test "$$(cat $@ 2>/dev/null)" = "$(CURDIR)" || rm -rf $(VENV)
	@test -x $(BIN)/python || $(PYTHON) -m venv $(VENV)
	@command -v uv >/dev/null || $(BIN)/python -m pip install --quiet --disable-pip-version-check uv
	uv pip sync --python $(BIN)/python --require-hashes requirements.lock
	uv pip install --python $(BIN)/python --no-deps --editable .
	@printf '%s\n' "$(CURDIR)" > $@

data: setup  ## fetch the dataset and the starter weights that data.dvc and weights.dvc name
	$(scm)
	$(PULL)

run: setup  ## fetch the data, run the pipeline, print a summary
	$(scm)
	@lesionflow params check
	@$(PULLED) || { $(PULL); }
	dvc repro
	@lesionflow summary

test: setup  ## run all tests, the longest files first
	$(scm)
	@$(PULLED) || { $(PULL); }
	pytest -n 3 --dist loadfile --no-loadscope-reorder tests

check: lint  ## lint, and the quick unit tests: the loop while you write
	pytest -n 2 -m "not slow and not sweep and not architectures and not forms and not experiments and not postgresql" tests/unit tests/repository

test-kill: setup  ## kill an import at every call that changes a file (minutes)
	pytest -m sweep tests/pipeline/test_killed_import.py

test-evidence: setup  ## try long sequences of register, promote, rollback and verify (minutes)
	pytest -m sweep tests/mlflow/test_immutable.py

test-architectures: setup  ## test the larger networks, and the pipeline with each of them
	pytest -m architectures tests/unit tests/pipeline

test-forms: setup  ## take a source of every form through the pipeline (minutes)
	pytest -m forms tests/pipeline/test_forms.py

test-experiments: setup  ## run queued DVC experiments through the pipeline (minutes)
	pytest -m experiments tests/pipeline/test_dvc_experiments.py

test-sharing: setup  ## kill processes that share a cross-validation or a search (minutes)
	pytest -m sharing tests/flows/test_sharing.py

test-recovery: setup  ## kill and restart runs, workers and servers of Prefect (minutes)
	pytest -m recovery tests/flows/test_recovery.py

test-api: setup  ## many requests generated from the API's description, and its page in Chromium (minutes)
	pytest -m sweep tests/server

test-install: setup  ## install the service alone from the package index, and ask it (minutes)
	pytest -m install -s tests/server/test_install.py

test-postgresql: setup  ## run flows with Prefect and MLflow on PostgreSQL, and searches that share a study there
	pytest -m postgresql tests/flows tests/unit/search

test-search: setup  ## killed and repeated fine-tuning of folds, trials one by one, and a study locked for 20 seconds (minutes)
	pytest -m sweep tests/unit/search tests/pipeline/test_cross_validation.py

lint: setup  ## ruff, mypy, and the import rules (lint-imports)
	ruff check .
	ruff format --check .
	mypy
	lint-imports --no-logo

format: setup  ## format the code with ruff
	ruff check --fix .
	ruff format .

report: setup  ## open reports/report.html: gate, figures and plots of the last run
	@test -e reports/report.html || { echo "error: reports/report.html does not exist. Run \`make run\` to create it."; exit 1; }
	python -m webbrowser -t "file://$$(python -c 'from pathlib import Path; print(Path("reports/report.html").resolve().as_uri()[7:])')"

docs: setup  ## generate the reference pages and diagrams of docs/, check links, anchors and mentioned commands
	python -m documentation

lock: setup  ## regenerate requirements.lock from pyproject.toml
	uv pip compile pyproject.toml --extra pipeline --extra serve --group dev --universal --python-version 3.11 --generate-hashes \
		--no-emit-index-url --no-emit-find-links --no-annotate --upgrade --quiet --output-file requirements.lock

bench: setup  ## run the benchmarks; tables are also written to benchmarks/results/ (ARGS="--quick", ARGS="isic9.zip --seeds 0 1", ...)
	python -m benchmarks.bench $(ARGS)

ui: setup  ## MLflow's page on http://127.0.0.1:5000
	@case "$$MLFLOW_TRACKING_URI" in http*) echo "MLflow's page is on $$MLFLOW_TRACKING_URI already"; exit;; esac; \
	page=http://127.0.0.1:$(UI_PORT); echo "MLflow on $$page (Ctrl-C ends it)"; \
	echo "runs: $$page/#/experiments"; echo "versions, champion and challenger: $$page/#/models"; \
	exec mlflow ui --host 127.0.0.1 --port $(UI_PORT) --workers 1 \
		--backend-store-uri "$$(python -c 'from components.tracking.store import store_uri; print(store_uri())')"

server: setup  ## Prefect's server and page on http://127.0.0.1:4200, its database in .prefect/
	python -m flows.server

deploy: setup  ## register the deployments of prefect.yaml with the server
	PREFECT_API_URL=$(PREFECT_API) python -m flows.deploy

worker: setup  ## run scheduled flows until interrupted
	PREFECT_API_URL=$(PREFECT_API) prefect worker start --pool lesionflow

starter: setup  ## pretrain the bundled backbone again on synthetic images
	python -m components.synthetic.pretrain weights/starter.weights.h5

clean:  ## remove the outputs of stages; keep data, weights, mlruns and DVC's cache
	rm -rf build reports/validation reports/split reports/review reports/evaluation reports/augment reports/curves
