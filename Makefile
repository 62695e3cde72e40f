# One way at home and in CI. `make` alone lists the targets.
PYTHON ?= python3
VENV := .venv
BIN := $(VENV)/bin

.DEFAULT_GOAL := help
.PHONY: help setup run test check format bench chaos lock clean

help: ## list what can be made
	@awk -F ':.*## ' '/^[a-z]+:.*## / {printf "  make %-8s %s\n", $$1, $$2}' $(MAKEFILE_LIST)

setup: $(VENV)/.installed web/static/vendor/.installed ## environment in .venv, command .venv/bin/crm, front-end packages

$(VENV)/.installed: requirements.lock pyproject.toml
	$(PYTHON) -c 'import sys; sys.exit(not (3, 11) <= sys.version_info[:2] <= (3, 13) and "Python 3.11 to 3.13 is needed: make setup PYTHON=python3.12")'
	$(PYTHON) -m venv $(VENV)
	$(BIN)/python -m pip install --quiet --require-hashes -r requirements.lock
	$(BIN)/python -m pip install --quiet --no-build-isolation --no-deps -e .
	@touch $@

web/static/vendor/.installed: package-lock.json web/assets.mjs $(VENV)/.installed
	$(BIN)/npm ci --no-audit --no-fund --ignore-scripts --loglevel=error
	$(BIN)/node web/assets.mjs
	@touch $@

run: setup ## a running product: database, demo network on an empty database, web, worker, local mail catcher
	CRM_DEMO=$${CRM_DEMO-$$([ -n "$$CRM_SMTP_URL" ] && echo 0 || echo 1)} $(BIN)/crm run

test: setup ## everything, on SQLite and on PostgreSQL, browser included
	$(BIN)/pytest -n 3 --dist loadgroup
	CRM_TEST_DATABASE=postgresql $(BIN)/pytest -n 3 --dist loadgroup

check: setup ## format, lint, types, imports, dead dependencies
	$(BIN)/ruff format --check .
	$(BIN)/ruff check .
	$(BIN)/mypy
	$(BIN)/lint-imports
	$(BIN)/djlint --lint --quiet templates/web
	$(BIN)/deptry crm api web

format: setup ## put code in the house's form
	$(BIN)/ruff check --fix-only --quiet .
	$(BIN)/ruff format --quiet .

bench: setup ## speed beside a peer, as ratios; writes build/bench.json
	$(BIN)/python -m tests.bench

chaos: setup ## kill -9, rude mail servers and database restarts (CHAOS_KILLS=50 of each cell); prints sent, twice, lost, in doubt
	$(BIN)/python -m tests.chaos
	$(BIN)/python -m tests.chaos.pace

lock: setup ## resolve the dependencies anew, for all platforms, with hashes
	$(BIN)/uv pip compile --universal --generate-hashes --no-emit-index-url --extra dev --python-version 3.11 --quiet pyproject.toml -o requirements.lock

clean: ## remove what was built, never data/
	rm -rf $(VENV) node_modules web/static/vendor build dist
