# Two commands on a fresh machine do everything: `make bench` and `make test`; both set up what they need.
# `make` alone lists the commands, by the text after ## in the line of each.
PYTHON ?= python3
VENV := .venv
RUN := $(VENV)/bin/python -m

# Three processes of tests at once, for two cores: one of them mostly waits. Each takes a file's tests in their order.
PARALLEL := -n 3 --dist loadfile -o console_output_style=progress

# another release of torch, the environment that has it, and cells of every kind to try it with
TORCH ?= 2.14.1
OTHER := .venv-other
SMOKE := cnn_digits-b32 or bert_tiny-b8 or train_corpus_tiny

.PHONY: help bench test test-rest test-all lint smoke-torch gpu-check setup clean

help:          ## list these commands
	@sed -n 's/^\([a-z-]*\):[^#]*## *\(.*\)/make \1\t\2/p' $(MAKEFILE_LIST) | expand -t 18

bench: setup   ## run the quick matrix on this machine, print the table, write the report
	$(RUN) pytest bench --benchmark-quiet --bench-report .paritygate/report.md \
	  --bench-report .paritygate/report.html --bench-report .paritygate/report.csv

test: setup    ## the project's own tests of units and of real workers
	$(RUN) pytest tests/unit tests/worker $(PARALLEL)
	@echo "Units and workers are tested. The rest (whole projects, gates, databases, browser, trainings): make test-rest"

test-rest: setup ## whole projects, gates, crashes, databases, browser; simulations, trainings, a sample of the zoo
	$(RUN) pytest tests/e2e tests/slow $(PARALLEL) --bench-store .paritygate/tests.sqlite

test-all: test test-rest ## every test

lint: setup    ## style, types, workflows, shell
	$(RUN) ruff check .
	$(RUN) ruff format --check .
	$(RUN) mypy
	$(VENV)/bin/check-jsonschema --quiet --builtin-schema vendor.github-workflows .github/workflows/*.yml
	$(VENV)/bin/check-jsonschema --quiet --builtin-schema vendor.github-actions .github/actions/*/action.yml
	$(VENV)/bin/shellcheck .ci/run .github/actions/*/*.sh

smoke-torch: $(OTHER)/torch-$(TORCH)   ## a few cells with another torch: make smoke-torch TORCH=2.14.1
	$(OTHER)/bin/python -m pytest bench -k '$(SMOKE)' --bench-targets 'cpu-eager-fp32,cpu-compile-fp32,cpu-onnxruntime-fp32' \
	  --bench-strict --benchmark-quiet --bench-store .paritygate/smoke-torch.sqlite

# The file says that .venv-other has this torch; another TORCH makes the environment again.
$(OTHER)/torch-$(TORCH): .ci/other_torch.py | $(VENV)/ready
	@echo "Setting up $(OTHER) with torch $(TORCH); once, a minute and 1.2 GB."
	$(VENV)/bin/python .ci/other_torch.py $(TORCH)
	@touch $@

# Not through .venv alone: on a machine without a network it takes the torch that is there.
gpu-check:     ## check the claims about GPUs on this machine's; a quarter of an hour; some: make gpu-check PARTS='same roofs'
	PYTHONPATH=bench:reports $(if $(wildcard $(VENV)/ready),$(VENV)/bin/python,$(PYTHON)) -m bench.evidence.gpu $(PARTS)

setup: $(VENV)/ready   ## make .venv with the tested versions

# The file says that .venv is complete; changed dependencies install again.
$(VENV)/ready: pyproject.toml constraints.txt
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11))' || \
	  { echo "paritygate needs Python 3.11 or newer; name one: make PYTHON=python3.12 $(MAKECMDGOALS)"; exit 1; }
	@echo "Setting up $(VENV) with the versions of constraints.txt; once, some minutes, torch is large."
	$(PYTHON) -m venv $(VENV)
	$(RUN) pip install --disable-pip-version-check -c constraints.txt -e '.[reports,models,postgresql,dev]'
	@touch $@

clean:         ## remove the environments, and everything that runs have left, the stored runs included
	rm -rf $(VENV) $(OTHER) .paritygate .benchmarks
