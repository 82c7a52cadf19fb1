# One place to start from; `make help` lists the targets.
.DEFAULT_GOAL := study
SHELL := /bin/bash
PYTHON ?= python3.11
VENV ?= .venv
BIN := $(VENV)/bin
INSTALLED := $(VENV)/installed
CONFIG ?= config.yaml
# Idle OpenMP threads sleep instead of spinning: jobs run side by side on the same cores.
export OMP_WAIT_POLICY := passive
# Compiled modules are kept, or every job of a study compiles torch and pandas anew.
unexport PYTHONDONTWRITEBYTECODE
# One line of progress (src/offcourse/run/progress.py); jobs write their own words into results/STUDY/logs. With =, since the
# option would take a target that follows for a second logger.
SNAKEMAKE := $(BIN)/snakemake --cores all --logger=offcourse

.PHONY: study install test smoke lint format bench gpu published findings classes mutations torture envs schema help

# A study that is not there is said before anything is installed. The shell asks, since $(wildcard) takes a blank in a name
# for the end of the name.
ifneq ($(shell test -f '$(CONFIG)' && echo there),there)
ifneq ($(filter-out install test smoke lint format bench gpu findings classes mutations torture envs schema help,$(or $(MAKECMDGOALS),study)),)
$(error there is no file $(CONFIG): CONFIG names the YAML file of a study, as in make CONFIG=studies/laptop.yaml. Nothing was installed or run)
endif
endif

# Every program of a virtual environment begins with the path of its folder, so one that was copied or moved with its
# checkout starts the old checkout's Python, or none. $(INSTALLED) says where it was made.
MADE_FOR := $(shell cat '$(INSTALLED)' 2>/dev/null)
ifneq ($(and $(MADE_FOR),$(filter-out envs help,$(or $(MAKECMDGOALS),study))),)
ifneq ($(shell test '$(MADE_FOR)' -ef . && echo here),here)
$(error $(VENV) was installed for $(MADE_FOR), and a virtual environment cannot be copied or moved. Delete the folder $(VENV) and run the same command again: it is installed anew. Nothing was installed or run)
endif
endif

study: $(INSTALLED) ## install if needed, run the study of CONFIG (config.yaml), say where the report is
	@$(SNAKEMAKE) --configfile '$(CONFIG)'
	@$(BIN)/python -m offcourse.run.summary '$(CONFIG)'

install: $(INSTALLED) ## install the lock and the package into .venv

$(INSTALLED): requirements.lock pyproject.toml
	@echo "Installing requirements.lock into $(VENV): torch is the largest part"
	@test -x $(BIN)/python || $(PYTHON) -m venv $(VENV)
	@# With dependencies: a GPU build of torch names its GPU libraries, at exact versions, and the lock cannot. pip is quiet
	@# but for errors: it warns of every folder that an index lacks.
	@$(BIN)/python -m pip install -qqq --disable-pip-version-check --no-compile -r requirements.lock
	@$(BIN)/python -m pip install -qqq --disable-pip-version-check --no-deps --no-build-isolation --editable .
	@pwd > $@

test: $(INSTALLED) ## the whole test suite, a test file at a time in each of a few processes
	$(BIN)/python -m pytest --numprocesses auto --dist loadfile --no-loadscope-reorder

classes: $(INSTALLED) ## every class of transformers on a tiny random model: docs/classes.md and resources/classes.tsv anew
	PYTHONPATH=tests $(BIN)/python -m every_class --write

mutations: $(INSTALLED) ## what each change redoes against what it moves, on a finished `make smoke`; about two hours on two cores
	PYTHONPATH=tests $(BIN)/python -m mutations --study .smoke --write-docs
	PYTHONPATH=tests $(BIN)/python -m mutations --of steering --write-docs

torture: $(INSTALLED) ## spoiled inputs, tampered files, forged records, kills, on a finished `make smoke`; about two hours on two cores
	PYTHONPATH=tests $(BIN)/python -m torture --study .smoke --write-docs

smoke: $(INSTALLED) ## the whole graph on a tiny random model, from nothing, below .smoke/
	@rm -rf .smoke
	@$(SNAKEMAKE) --configfile studies/smoke.yaml --directory .smoke
	@echo "Report: .smoke/results/smoke/report.html"

lint: $(INSTALLED) ## style, spelling, workflow
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/snakefmt --check Snakefile rules
	$(BIN)/typos
	$(BIN)/snakemake --lint --configfile studies/smoke.yaml

format: $(INSTALLED) ## rewrite in the project's style
	$(BIN)/ruff check --fix .
	$(BIN)/ruff format .
	$(BIN)/snakefmt Snakefile rules

bench: $(INSTALLED) ## speed and memory against the naive loops, on SmolLM2 with the release's prompts
	env -u OMP_WAIT_POLICY $(BIN)/python -m benchmarks.run

published: $(INSTALLED) ## the paper's tables and figures from the authors' results, ORIGINAL=1 to convert their 901 files anew
	@$(SNAKEMAKE) published --configfile '$(CONFIG)' $(if $(ORIGINAL),--config original=1)
	@$(BIN)/offcourse compare --configfile '$(CONFIG)' || test $$? -eq 1
	@echo "Tables: results/published/tables  figures: results/published/figures  cells: results/published/comparison.csv"
	@echo "Report: results/published/report.html"

findings: $(INSTALLED) ## docs/findings.md and resources/findings/ from results/off-by-one, results/published and (README picture) results/default, as far as they are there
	@$(BIN)/python -m offcourse.published.findings

gpu: $(INSTALLED) ## check this machine's GPU with random models at the paper's widths; results/check-gpu.md
	$(BIN)/offcourse check-gpu

envs: ## export the environment for --sdm conda from the lock
	python3 envs/export.py

schema: $(INSTALLED) ## export the JSON schema of a configuration, for editors
	$(BIN)/python workflow/schemas/export.py

help: ## this list
	@grep -hE '^[a-z]+:.*##' $(MAKEFILE_LIST) | sed -E 's/^([a-z]+):.*## /\1\t/' | expand -t 10
