# The commands of this project; `make help` lists them. Works with the GNU make 3.81 of macOS as well.
#
# Everything is installed into .venv from the lock files, with hashes. The development lock holds the pins of the lean
# one and more, and installing only ever adds: going back and forth between `make run` and `make test` uninstalls nothing.

SHELL := /bin/sh
.DEFAULT_GOAL := help

VENV := .venv
BIN := $(VENV)/bin
UV := $(BIN)/uv
CODE := assistant agents knowledge ui tests

# uv reads none of pip's configuration; a folder of wheels and a mirror named for pip are passed on.
FIND_LINKS := $(if $(PIP_FIND_LINKS),--find-links "$(PIP_FIND_LINKS)")
ifdef PIP_INDEX_URL
export UV_DEFAULT_INDEX ?= $(PIP_INDEX_URL)
endif
# Wheels only, so no compiler is needed. Three small packages below chainlit come as plain Python source alone; like the
# project itself they are built with the setuptools of the lock instead of whatever an isolated build would fetch.
SOURCE_ONLY := cuid literalai syncer
INSTALL := $(UV) pip install --quiet --python $(BIN)/python --only-binary :all: $(SOURCE_ONLY:%=--no-binary %) \
	--no-build-isolation --require-hashes --compile-bytecode $(FIND_LINKS)
COMPILE := "$(CURDIR)/$(UV)" pip compile pyproject.toml --python "$(CURDIR)/$(BIN)/python" --quiet --universal --python-version 3.11 --generate-hashes \
	--no-emit-index-url --no-emit-find-links --custom-compile-command 'make lock'

# Stamps inside the environment: they vanish with it, and are written only when their step has succeeded.
HAS_UV := $(VENV)/.has-uv
HAS_RUN := $(VENV)/.has-run
HAS_DEV := $(VENV)/.has-dev
HAS_PROJECT := $(VENV)/.has-project

# Usable: made in this very folder (scripts hold absolute paths, so a copied one is not), by a Python that is still there
# and fits. Anything else is made again, instead of failing half-way.
USABLE := grep -qF '$(CURDIR)/$(BIN)/' $(BIN)/pip && $(BIN)/python -c 'import sys; sys.exit(not (3, 11) <= sys.version_info < (3, 14))'
ifeq ($(shell ($(USABLE)) >/dev/null 2>&1 && echo usable),)
$(HAS_UV): FORCE
endif

# One step after the other, whatever MAKEFLAGS says: two installers in one environment disturb each other.
.NOTPARALLEL:

.PHONY: help run test check fmt lock lock-check bench embedding-model clean FORCE

help: ## list the commands
	@awk -F ':.*## ' '/^[a-z-]+:.*## / { printf "  make %-16s %s\n", $$1, $$2 }' Makefile

run: $(HAS_RUN) $(HAS_PROJECT) ## start KubeChat on http://127.0.0.1:8000 (PORT, ARGS="--snapshot DIR")
	@exec $(BIN)/kubechat serve $(ARGS)

test: $(HAS_DEV) $(HAS_PROJECT) ## run the tests (ARGS="tests/unit -k words")
	@exec $(BIN)/python -m pytest $(ARGS)

# Every check runs, also after one has failed: one run shows all there is to mend.
check: $(HAS_DEV) $(HAS_PROJECT) ## ruff, mypy, import contracts, generated pages and locks current
	@status=0; \
	for command in '$(BIN)/ruff check .' '$(BIN)/ruff format --check .' '$(BIN)/mypy' '$(BIN)/lint-imports' '$(BIN)/python -m ui.reference --check' '$(MAKE) lock-check'; do \
		echo "== $$command"; $$command || status=1; \
	done; exit $$status

fmt: $(HAS_DEV) ## format the code and mend what ruff can mend
	$(BIN)/ruff check --fix-only .
	$(BIN)/ruff format .

bench: $(HAS_DEV) $(HAS_PROJECT) ## print the figures of the README (tests/benchmarks/bench_*.py)
	@failed=0; \
	for bench in tests/benchmarks/bench_*.py; do \
		[ -e "$$bench" ] || continue; \
		echo "== $$bench"; \
		PYTHONPATH=. $(BIN)/python "$$bench" || failed=1; \
	done; exit $$failed

# The lean lock first; the development lock is constrained by it, so both pin the same versions.
lock: $(HAS_UV) ## resolve pyproject.toml into the lock files again (ARGS=--upgrade for newer versions)
	$(COMPILE) --group build --output-file requirements.lock $(ARGS)
	$(COMPILE) --group build --group dev --constraints requirements.lock --output-file requirements-dev.lock $(ARGS)

# Resolved beside a copy of the locks, whose pins are kept as long as they still fit.
lock-check: $(HAS_UV) ## fail when the lock files do not follow from pyproject.toml
	@fresh=$$(mktemp -d) && trap 'rm -rf "$$fresh"' EXIT && cp pyproject.toml requirements.lock requirements-dev.lock "$$fresh" && \
	(cd "$$fresh" && $(COMPILE) --group build --output-file requirements.lock && \
	$(COMPILE) --group build --group dev --constraints requirements.lock --output-file requirements-dev.lock) && \
	diff requirements.lock "$$fresh/requirements.lock" && diff requirements-dev.lock "$$fresh/requirements-dev.lock" || \
	{ echo "the lock files are not current: make lock" >&2; exit 1; }

# An environment of its own: torch is an extra and never comes into .venv.
embedding-model: $(HAS_UV) ## build the committed embedding model again from sentence-transformers
	$(UV) venv --quiet --clear --python $(BIN)/python .venv-embed
	$(UV) pip install --quiet --python .venv-embed/bin/python --constraints requirements.lock $(FIND_LINKS) \
		-r pyproject.toml --extra sentence-transformers
	PYTHONPATH=. .venv-embed/bin/python assistant/models/minilm/build.py $(ARGS)

clean: ## remove environments, caches and build output (the data folder of KubeChat stays)
	rm -rf $(VENV) .venv-embed build *.egg-info .mypy_cache .ruff_cache .pytest_cache .import_linter_cache .hypothesis
	find $(CODE) -name __pycache__ -type d -prune -exec rm -rf {} +

FORCE:

$(HAS_UV):
	@($(USABLE)) >/dev/null 2>&1 || { python=$$(.ci/find-python) || exit 1; \
		echo "making $(VENV) with $$python"; "$$python" -m venv --clear $(VENV) || { rm -rf $(VENV); exit 1; }; }
	@awk '/^(setuptools|uv)==/ { on = 1 } on { print } !/\\$$/ { on = 0 }' requirements.lock > $(VENV)/bootstrap.txt
	@$(BIN)/python -m pip install --quiet --disable-pip-version-check --no-deps --only-binary :all: --require-hashes \
		-r $(VENV)/bootstrap.txt
	@touch $@

$(HAS_RUN): $(HAS_UV) requirements.lock
	@if [ $(HAS_DEV) -nt requirements-dev.lock ] && [ $(HAS_DEV) -nt requirements.lock ] && [ $(HAS_DEV) -nt $(HAS_UV) ]; then :; \
	else echo "installing from requirements.lock (the first time takes a minute or two)"; $(INSTALL) -r requirements.lock; fi
	@touch $@

$(HAS_DEV): $(HAS_UV) requirements.lock requirements-dev.lock
	@echo "installing from requirements-dev.lock"
	@$(INSTALL) -r requirements-dev.lock
	@touch $@

# Editable and offline: setuptools comes from the lock, so no build environment is fetched behind the user's back.
$(HAS_PROJECT): $(HAS_UV) pyproject.toml
	@$(UV) pip install --quiet --python $(BIN)/python --offline --no-deps --no-build-isolation --editable .
	@touch $@
