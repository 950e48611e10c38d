# The commands of people and of .ci/run alike. `make help` lists them.

VENV ?= .venv
BIN := $(VENV)/bin
STAMP := $(VENV)/.installed

# The first Python that is new enough and whole (Debian's may lack ensurepip); set PYTHON to choose another.
USABLE := import sys, ensurepip, sqlite3, ssl; sys.exit(sys.version_info < (3, 11))
CANDIDATES := python3.13 python3.12 python3.11 python3 python
PYTHON ?= $(shell for p in $(CANDIDATES); do $$p -c '$(USABLE)' 2>/dev/null && echo $$p && break; done)

# The demo keeps to its own embedded database, whatever $HISTOTUNE_STORAGE says. So that two slow cores end it in three
# minutes, its patches are few, a third of the patients is for the test, networks are small, and of VGG16 only the head
# learns, behind frozen blocks whose outputs are kept, and of each model one configuration is retrained beside the default
# one. STUDY names another one beside runs/demo, WEIGHTS VGG16's weights.
STUDY ?= demo
DEMO := --study '$(STUDY)' --data synthetic:300 --storage sqlite:///runs/studies.db
DEMO_SPACE := cnn.width=16,cnn.kernel=3,cnn.batch_size=32,vgg16.frozen_blocks=5,vgg16.input_size=50,vgg16.stain_jitter=0
DEMO_SEARCH := --model all --trials 8 --epochs 6 --split 45/20/35 --set $(DEMO_SPACE)
FETCH_WEIGHTS := import os; from models._weights import vgg16_weights; vgg16_weights(None, os.environ)

.DEFAULT_GOAL := help
.PHONY: help install demo test test-faults test-all test-compose test-newest soak bench bench-full lint docs audit format clean

help: ## list the commands
	@sed -n 's/^\([a-z-]*\):.*## /  make \1\t/p' $(MAKEFILE_LIST) | expand -t 20

install: $(STAMP) ## build .venv with everything that the other commands need (about 2 minutes, 7 GB)

# A .venv that works is kept and brought up to date; one that was cut off or is too old is made anew.
$(STAMP): pyproject.toml constraints.txt
	@$(BIN)/python -c 'import sys, pip; sys.exit(sys.version_info < (3, 11))' 2>/dev/null || { \
	  $(or $(PYTHON),false) -c '$(USABLE)' 2>/dev/null || { \
	    echo "Python 3.11 or later with venv and sqlite3 is needed; looked at: $(or $(PYTHON),$(CANDIDATES))." \
	      "Install one (Debian: python3 python3-venv) or name it: make $(MAKECMDGOALS) PYTHON=/path/to/python3" >&2; exit 1; }; \
	  echo "Making $(VENV) with $(PYTHON)"; $(PYTHON) -m venv --clear $(VENV); }
	@echo "Installing into $(VENV): about 2 minutes and 7 GB, most of it PyTorch"
	@$(BIN)/python -m pip install -qq --upgrade --constraint constraints.txt pip
	@$(BIN)/python -m pip install -qq --no-compile --constraint constraints.txt --build-constraint constraints.txt \
	  --editable . --group dev
	@$(BIN)/python -m compileall -qq -j 0 $(VENV)/lib || true # on all cores, where pip takes one; templates do not compile
	@touch $@

demo: $(STAMP) ## search, prune, retrain and report on made-up patches, both models (3 minutes)
	@weights="$(WEIGHTS)"; \
	[ -n "$$weights" ] || told=$$($(BIN)/python -c '$(FETCH_WEIGHTS)' 2>&1) || { weights=none; echo "$$told" | tail -n 1; \
	  echo "Going on without them: vgg16 begins from random weights, and all takes about ten minutes."; }; \
	set -x; $(BIN)/python -m search.launch $(DEMO_SEARCH) $${weights:+--vgg16-weights "$$weights"} $(DEMO) || { \
	  code=$$?; [ $$code != 2 ] || echo "Another name begins anew: make demo STUDY=NEW"; exit $$code; } 2>/dev/null
	$(BIN)/python -m search.finalize --finalists 1 $(DEMO)
	@echo
	@echo "The report is one file, for any browser, here or elsewhere: $(CURDIR)/runs/$(STUDY)/report.html"
	@echo "    xdg-open '$(CURDIR)/runs/$(STUDY)/report.html'"
	@echo "Next, your own patches; the forms of PATH are in README.md:"
	@echo "    source $(CURDIR)/$(VENV)/bin/activate"
	@echo "    python -m search.explore --data PATH"

# One process more than a small machine has cores, as many tests wait for what they started; a file stays in one process,
# and those that take longest come first (tests/conftest.py).
JOBS ?= 3

PYTEST = $(BIN)/python -m pytest --numprocesses $(JOBS) --dist loadfile --no-loadscope-reorder
# What takes whole searches to try: processes that die, databases, models and machines of others, the same search twice;
# and what explores thousands of real patches.
SEARCHES := repeats others enqueued few_patients script at_once warm_start margin foreign sides taken_up
LONG := tests/faults tests/cluster tests/hardening/test_intruders.py tests/studies/storage/test_contract.py \
  $(SEARCHES:%=tests/search/test_%.py) tests/search/workers/test_place.py tests/search/upkeep/test_moving.py \
  tests/search/training/test_preprocess.py tests/studies/report/test_real_page_in_browser.py tests/test_benchmarks.py \
  tests/search/upkeep/test_exploration.py tests/studies/exploration/test_page_in_browser.py

test: $(STAMP) ## run the tests but for the long ones; ARGS="-k name" picks some, JOBS=0 takes one process
	$(PYTEST) $(LONG:%=--ignore=%) $(ARGS)

test-faults: JOBS = 4 # they wait for one another, for leases and for servers most of their time
test-faults: $(STAMP) ## run the long ones: kill processes, stop servers, set clocks, fill disks, search twice
	$(PYTEST) $(LONG) $(ARGS)

test-all: JOBS = 4
test-all: $(STAMP) ## run both, as CI does: the libraries are imported once, and no core waits for the last file of the first
	$(PYTEST) $(ARGS)

# Containers by podman, as root: the stack on thin images, which hold nothing but mounts of this machine; or on the image
# that is shipped, built on BASE_IMAGE, which installs for minutes.
test-compose: $(STAMP) ## run docker-compose.yml with podman: kill a worker and the database, down, up; COMPOSE=full builds the image
	HISTOTUNE_COMPOSE=$(or $(COMPOSE),thin) $(BIN)/python -m pytest -s tests/compose $(ARGS)

# Beside the environment of the others: what people get who install without constraints.txt, and Optuna and Ray above
# their bounds where there are such, since it is to tell whether these can be raised. One of the tests is a whole search
# in a real Ray. A bound is raised after `make test-faults` as well, which kills workers and servers.
NEWEST := .venv-newest
FAST := tests/data_utils tests/models tests/search tests/studies
SLOW := in_browser or test_whole or test_taken_up or synthetic_learning
WHOLE := test_a_model_dropped_into_its_folder_is_searched_and_reported

test-newest: ## install the newest release of everything into .venv-newest, above the bounds too, and run the fast tests
	$(or $(PYTHON),python3) -m venv --clear $(NEWEST)
	$(NEWEST)/bin/python -m pip install -qq --upgrade pip
	$(NEWEST)/bin/python .ci/newest.py wanted > $(NEWEST)/wanted.txt
	$(NEWEST)/bin/python -m pip install -qq --upgrade --requirement $(NEWEST)/wanted.txt --group dev
	$(NEWEST)/bin/python -m pip install -qq --no-deps --editable .
	$(PYTEST:$(BIN)/%=$(NEWEST)/bin/%) $(FAST) -k "not ($(SLOW)) or $(WHOLE)" $(ARGS); passed=$$?; \
	  $(NEWEST)/bin/python .ci/newest.py moved; exit $$passed

soak: $(STAMP) ## kill drivers and workers of a search for about 40 minutes, then feed malformed inputs; ARGS="--drivers 5"
	$(BIN)/python -m soak $(ARGS)

bench: $(STAMP) ## measure every claim of speed in about 40 minutes; ARGS="training" picks some, ARGS=--write fills BENCHMARKS.md
	$(BIN)/python -m benchmarks.run $(ARGS)

bench-full: $(STAMP) ## the same at length, for hours
	$(BIN)/python -m benchmarks.run --full $(ARGS)

lint: $(STAMP) ## check format, style, types, the rules of import and dependencies
	$(BIN)/ruff format --check .
	$(BIN)/ruff check .
	$(BIN)/mypy
	$(BIN)/lint-imports
	$(BIN)/deptry .

# A group of its own in the same environment: the docstrings are read by importing what they describe.
DOCS := $(VENV)/.docs

$(DOCS): $(STAMP)
	@$(BIN)/python -m pip install -qq --constraint constraints.txt --group docs
	@touch $@

docs: $(DOCS) ## build all pages and docstrings as one site in site/, strictly: a broken link fails
	$(BIN)/python -m sphinx --fail-on-warning --keep-going --quiet --conf-dir docs --doctree-dir build/docs . site
	@echo "The site: $(CURDIR)/site/index.html"

# Advisories that do not concern us: one line each, with its reason, as in `IGNORED += GHSA-xxxx # no such call here`.
IGNORED :=

# --strict fails where the advisory service knows nothing of a package, as it does where it cannot be reached at all.
audit: $(STAMP) ## look up every pinned version in the advisory database; needs the network, fails without
	$(BIN)/python -m pip install -qq --constraint constraints.txt pip-audit==2.10.1
	$(BIN)/pip-audit --strict --progress-spinner off --disable-pip --no-deps --requirement constraints.txt \
	  $(addprefix --ignore-vuln ,$(IGNORED)) \
	  || { echo "audit failed: mend what is named above; if no advisory is, the service was not reached" >&2; exit 1; }

format: $(STAMP) ## format the code and repair what can be repaired
	$(BIN)/ruff format .
	$(BIN)/ruff check --fix .

clean: ## remove .venv, .venv-newest and caches; results in runs/ stay
	rm -rf $(VENV) $(NEWEST) build site docs/api *.egg-info .mypy_cache .ruff_cache .pytest_cache .import_linter_cache .hypothesis
	find . -name __pycache__ -type d -prune -exec rm -rf {} +
