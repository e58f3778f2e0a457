PYTHON ?= python3
VENV := .venv
BIN := $(VENV)/bin
STAMP := $(VENV)/.installed
LINT_STAMP := $(VENV)/.installed-lint
DOCS_STAMP := $(VENV)/.installed-docs
EXTRAS := diffusion,mmdet,eval,scale,dev
CONSTRAINTS := constraints.txt

.PHONY: help setup demo demo-seggen test test-heavy test-matrix lint docs fuzz demo-seeds demo-detectors clean

help:
	@echo "make demo        set up .venv, then go from mini-LVIS to the rare-category AP table"
	@echo "make demo-seggen the same for SegGen: MaskSyn, ImgSyn, both, and with MosaicFusion; 70 minutes"
	@echo "make test        set up .venv, then run the tests"
	@echo "make test-heavy  the tests that take minutes each"
	@echo "make test-matrix the tests with the oldest and the newest releases; 12 GB of environments"
	@echo "make lint        check style and types with ruff and mypy"
	@echo "make docs        build the pages of docs/; a broken link stops it"
	@echo "make fuzz        100,000 hostile inputs for the readers; a few minutes"
	@echo "make demo-seeds  the demo with seeds 1 to 3"
	@echo "make demo-detectors  the demo with CenterNet2, and both in Detectron2 if it is installed"
	@echo "make setup       .venv alone"
	@echo "make clean       remove work_dirs: every result"

setup: $(STAMP)

# Two packages of the mmdet line ask for opencv-python, which needs a screen's libraries; the
# headless build of the same version takes its place.
$(STAMP): setup.py $(CONSTRAINTS) Makefile
	@echo "Setting up $(VENV): about 3 minutes, once."
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11))' || \
		{ echo "$$($(PYTHON) --version): expected Python 3.11 or later; make PYTHON=python3.11"; exit 1; }
	test -x $(BIN)/python || $(PYTHON) -m venv $(VENV)
	$(BIN)/python -m pip install --quiet --disable-pip-version-check -c $(CONSTRAINTS) setuptools wheel
	$(BIN)/python -m pip install --quiet --disable-pip-version-check -c $(CONSTRAINTS) -e ".[$(EXTRAS)]"
	$(BIN)/python -m pip uninstall --quiet --yes opencv-python
	$(BIN)/python -m pip install --quiet --disable-pip-version-check -c $(CONSTRAINTS) --force-reinstall --no-deps opencv-python-headless
	@touch $(STAMP)

demo: $(STAMP)
	$(BIN)/python tools/demo.py

demo-seggen: $(STAMP)
	OMP_NUM_THREADS=1 $(BIN)/python tools/benchmark_minilvis.py --config configs/benchmark/seggen.py --out work_dirs/demo-seggen --jobs 2

demo-seeds: $(STAMP)
	$(BIN)/python tools/demo.py --seeds 1 2 3

demo-detectors: $(STAMP)
	$(BIN)/python tools/demo.py --detector centernet2
	@if $(BIN)/python -c 'import sys; from mf_plugin.detectron2.install import is_installed; sys.exit(not is_installed())'; then \
		$(BIN)/python tools/demo.py --framework detectron2 && \
		$(BIN)/python tools/demo.py --framework detectron2 --detector centernet2; \
	else echo "Detectron2 is left out: it is not installed."; fi

# A process for each core, each with one thread: most tests use one.
test: $(STAMP)
	OMP_NUM_THREADS=1 $(BIN)/python -m pytest -m "not heavy" --numprocesses logical --maxprocesses 4 --dist loadfile

test-heavy: $(STAMP)
	$(BIN)/python -m pytest -m heavy

test-matrix:
	$(MAKE) test VENV=.venv-oldest CONSTRAINTS=constraints-oldest.txt
	$(MAKE) test VENV=.venv-newest CONSTRAINTS=constraints-newest.txt

lint: $(LINT_STAMP)
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy

$(LINT_STAMP): $(STAMP)
	$(BIN)/python -m pip install --quiet --disable-pip-version-check -c $(CONSTRAINTS) -e ".[lint]"
	@touch $(LINT_STAMP)

docs: $(DOCS_STAMP)
	$(BIN)/mkdocs build --quiet
	@echo "open work_dirs/docs/index.html"

$(DOCS_STAMP): $(STAMP)
	$(BIN)/python -m pip install --quiet --disable-pip-version-check -c $(CONSTRAINTS) -e ".[docs]"
	@touch $(DOCS_STAMP)

fuzz: $(STAMP)
	$(BIN)/python tools/fuzz.py

clean:
	rm -rf work_dirs
