# Everything sets itself up: what is missing is installed or built once, with progress, into .venv and a cache
# ($MDEV_CACHE, default ~/.cache/mdev-operator); a second run starts in seconds.

SHELL := /bin/bash
PYTHON := .venv/bin/python
READY := .venv/.ready
NODES ?= guests
SUITES ?=
SEEDS ?= 1

.PHONY: help demo test chaos outages e2e e2e-up e2e-down lint controlplane controlplane-down manifests protos lock clean

help:
	@echo "make demo [NODES=simulated] [BREAK=preparer]   the main job, end to end, on real parts"
	@echo "make test [SUITES='unit api kubevirt durable kernel']  every test, each suite within its time budget"
	@echo "make chaos [SEEDS=n]                           many migrations while everything fails: n runs, then one in guests"
	@echo "make outages                                   the API server away for minutes, watches that fall silent"
	@echo "make e2e                                       tests in a kind cluster with real kubelets (docs/e2e.md)"
	@echo "make e2e-up / e2e-down                         leave that cluster running / end it"
	@echo "make lint                                      ruff, mypy, import-linter"
	@echo "make controlplane / controlplane-down          leave a real control plane running / end it"
	@echo "make manifests                                 generate crds/*.yaml from the kinds"
	@echo "make protos                                    generate the agent's gRPC code"
	@echo "make lock                                      pin the dependencies again"

$(READY): requirements.lock $(wildcard */pyproject.toml)
	@bash tests/setup/venv.sh

demo: $(READY)
	@$(PYTHON) -m demo --nodes $(NODES) $(if $(BREAK),--break $(BREAK))

test: $(READY)
	@$(PYTHON) -m tests.suites $(SUITES)

chaos: $(READY)
	@$(PYTHON) -m tests.chaos --seeds $(SEEDS) && $(PYTHON) -m pytest -q tests/chaos/guests

outages: $(READY)
	@$(PYTHON) -m pytest -q tests/chaos/outages

e2e: $(READY)
	@$(PYTHON) -m tests.e2e test

e2e-up: $(READY)
	@$(PYTHON) -m tests.e2e up

e2e-down: $(READY)
	@$(PYTHON) -m tests.e2e down

lint: $(READY)
	@$(PYTHON) -m tests.suites lint

controlplane: $(READY)
	@$(PYTHON) -m tests.controlplane up

controlplane-down: $(READY)
	@$(PYTHON) -m tests.controlplane down

manifests: $(READY)
	@.venv/bin/mdev-api-manifests crds

protos: $(READY)
	@$(PYTHON) -m tests.setup.protos

lock: $(READY)
	@$(PYTHON) -m uv pip compile requirements.in --python-version 3.11 --generate-hashes --no-emit-index-url \
		--no-header --output-file requirements.lock
	@for part in operator node-agent; do $(PYTHON) -m uv pip compile $$part/pyproject.toml --constraint requirements.lock \
		--python-version 3.11 --generate-hashes --no-emit-index-url --no-header --no-annotate \
		--no-emit-package mdev-api --output-file deploy/images/$$part.lock || exit; done

clean:
	rm -rf .venv .run .pytest_cache .mypy_cache .ruff_cache .hypothesis .import_linter_cache
