# Two commands set everything up: `make demo` and `make test`.

PYTHON ?= python3
BIN := .venv/bin

.PHONY: help venv demo test lint bench clean

help:
	@echo "make demo    install, then generate and edit real pictures with tiny untrained weights, into demo/"
	@echo "make test    install, then lint, check types and run the tests"
	@echo "make bench   install, then measure speed and memory on this machine"
	@echo "make venv    install into .venv (with uv where there is one)"
	@echo "make clean   remove .venv and demo/"

venv: .venv/installed

.venv/installed: pyproject.toml constraints.txt
	@if command -v uv >/dev/null; then \
		uv venv --quiet --seed --allow-existing --python $(PYTHON) .venv && \
		uv pip install --quiet --python $(BIN)/python --constraint constraints.txt --editable '.[test]'; \
	else \
		$(PYTHON) -m venv .venv && \
		$(BIN)/python -m pip install --quiet --disable-pip-version-check --constraint constraints.txt --editable '.[test]'; \
	fi
	@touch $@

demo: venv
	$(BIN)/python tools/demo.py --out demo

test: lint
	$(BIN)/pytest

lint: venv
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy

bench: venv
	$(BIN)/python -m benchmarks.run

clean:
	rm -rf .venv demo
