# Every target sets up its own environment: a virtual environment with the pinned versions of constraints.txt.

PYTHON ?= python3
VENV := .venv
READY := $(VENV)/.ready
RUN := $(VENV)/bin/python
GRADRTL := $(VENV)/bin/gradrtl
TYPES := build/types/gradrtl# the packages under their import names, as links, for mypy

.PHONY: demo check test lint docs coverage cocotb formal mutants soak soak-stream serial-soak fuzz kills lowest pythons sbom bench campaign frameworks networks clean

demo: $(READY)
	$(GRADRTL) demo --out build/mnist

check: lint docs test # what CI runs; the tests last, import directions among them

test: $(READY)
	$(RUN) -m pytest -n 2 --dist worksteal tests

lint: $(READY)
	$(RUN) -m ruff check .
	$(RUN) -m ruff format --check .
	rm -rf $(TYPES)
	mkdir -p $(TYPES)
	ln -s $(CURDIR)/gradrtl/*.py $(addprefix $(CURDIR)/,gradrtl/commands gradrtl/report gradrtl/samples gradrtl/steps model quantize rtl sim) $(TYPES)
	MYPYPATH=$(dir $(TYPES)) $(RUN) -m mypy

docs: $(READY)
	NO_MKDOCS_2_WARNING=1 $(RUN) -m mkdocs build --quiet
	@echo build/docs/index.html

coverage: $(READY) # branch coverage of the library; [tool.coverage] in pyproject.toml says what is left out
	$(RUN) -m pytest --cov --cov-report=term-missing:skip-covered --cov-report=xml:build/coverage.xml tests

cocotb: $(READY)
	$(RUN) -m pytest -s tests/test_cocotb_top.py

formal: $(READY)
	$(RUN) -m pytest tests/formal

mutants: $(READY)
	$(RUN) tests/mutants.py

soak: $(READY)
	$(RUN) tests/soak.py
	$(RUN) tests/soak.py --graphs

soak-stream: $(READY)
	$(RUN) tests/stream_soak.py

serial-soak: $(READY)
	$(RUN) tests/serial_soak.py

kills: $(READY)
	$(RUN) tests/kills.py

fuzz: $(READY)
	$(RUN) tests/fuzz.py

lowest: # the lowest versions that pyproject.toml declares
	mkdir -p build
	$(PYTHON) .ci/lowest.py core train verify fpga formal > build/lowest.txt
	.ci/smoke $(PYTHON) build/lowest build/lowest.txt

pythons: # every supported Python that is installed
	for version in 3.11 3.12 3.13; do .ci/smoke python$$version build/python$$version constraints.txt || exit 1; done

sbom: $(READY)
	$(RUN) .ci/sbom.py

bench: $(READY)
	$(RUN) -m bench

FRAMEWORKS := snntorch norse spikingjelly sinabs rockpool spyx
frameworks: $(FRAMEWORKS:%=build/frameworks/%/.ready) # networks of other frameworks, each in an environment of its own
	for name in $(FRAMEWORKS); do build/frameworks/$$name/bin/python tests/frameworks/check.py $$name || exit 1; done

build/frameworks/%/.ready: tests/frameworks/constraints-%.txt
	$(PYTHON) -m venv $(@D)
	$(@D)/bin/python -m pip install --quiet --constraint $< --editable '.[nir]' torch nir nirtorch $*
	touch $@

campaign: $(READY)
	$(RUN) -m gradrtl.model.campaign

networks: $(READY)
	$(RUN) examples/quantise_mnist.py networks

clean:
	rm -rf build .pytest_cache .hypothesis .mypy_cache .ruff_cache

$(READY): pyproject.toml constraints.txt
	$(PYTHON) -m venv $(VENV)
	$(RUN) -m pip install --quiet --constraint constraints.txt --editable '.[dev]'
	touch $(READY)
