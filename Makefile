# Everything is set up by itself: `make demo`, `make train`, `make test`.

PYTHON ?= python3
BIN := .venv/bin
# uv, where there is one, takes an eighth of pip's time.
INSTALL = $(if $(shell command -v uv),uv pip install --python $(BIN)/python, \
	$(BIN)/python -m pip install --disable-pip-version-check) --quiet --constraint constraints.txt

.PHONY: help venv demo data train miniature test quick campaign lint bench clean

help:
	@echo "make demo      install, then generate and edit clips of subjects that the miniature has never seen, into demo/"
	@echo "make data      install, then make records and reports of EmojiMotion and of real clips, into demo/data/"
	@echo "make train     install, then train a small VAE and a small MagDiff on EmojiMotion, into runs/; goes on where it was"
	@echo "make miniature install, then train the whole method in miniature, for hours, into runs/miniature; goes on where it was"
	@echo "make test      install, then lint, check types and run the tests"
	@echo "make quick     install, then run one test of each part, in a minute"
	@echo "make campaign  install, then run what takes half an hour or more and is done before a release"
	@echo "make bench     install, then measure speed and memory on this machine"
	@echo "make venv      install into .venv (with uv where there is one)"
	@echo "make clean     remove .venv and demo/"

venv: .venv/installed

.venv/installed: pyproject.toml constraints.txt
	@$(PYTHON) -m venv .venv
	@$(INSTALL) --editable '.[test]'
	@touch $@

demo: venv
	$(BIN)/python tools/demo.py --out demo

# EmojiMotion, and real clips with labels from their captions and masks by GrabCut: what needs no weights.
data: .venv/prepare
	$(BIN)/python tools/real_clips.py --out demo/data/videos
	$(BIN)/python -m magdiff_jax.data.prepare --config configs/data/weightless.py --out demo/data \
		--config.name=real_clips --config.splits.train.folder=demo/data/videos \
		--config.splits.train.captions=demo/data/videos/captions.csv --overwrite
	$(BIN)/python -m magdiff_jax.data.prepare --config configs/data/emoji_motion.py --out demo/data \
		--config.splits.train.length=96 --config.splits.validation.length=24 \
		--config.splits.test.length=24 --config.splits.edit.length=24 --overwrite
	$(BIN)/python -m magdiff_jax.data.report --dataset demo/data/real_clips --overwrite
	$(BIN)/python -m magdiff_jax.data.report --dataset demo/data/emoji_motion --overwrite

# From nothing: a VAE, then MagDiff with it, then a model's folder for generate and edit. Each goes on where it stopped.
train: venv
	$(BIN)/python -m magdiff_jax.train --config configs/small_vae.py --workdir runs/small-vae
	$(BIN)/python -m magdiff_jax.export --workdir runs/small-vae --out runs/small-vae/model --overwrite
	$(BIN)/python -m magdiff_jax.train --config configs/small.py --workdir runs/small
	$(BIN)/python -m magdiff_jax.export --workdir runs/small --out runs/small/model --overwrite
	@echo "look at runs/small/samples: what is real, the subject given, what the model makes"

# The whole method in miniature, from nothing: a VAE, a CLIP pair, a text-to-video base, MagDiff. Goes on where it stopped.
miniature: venv
	for stage in vae clip base magdiff; do \
		$(BIN)/python -m magdiff_jax.train --config configs/miniature/$$stage.py --workdir runs/miniature/$$stage && \
		$(BIN)/python -m magdiff_jax.export --workdir runs/miniature/$$stage --out runs/miniature/$$stage/model \
			--overwrite || exit; \
	done

.venv/prepare: .venv/installed
	@$(BIN)/python -m pip install --quiet --disable-pip-version-check torch==2.13.0
	@$(INSTALL) --editable '.[prepare,demo]'
	@touch $@

# Checked with torch, so that the tests of pickled checkpoints and of the preparation's models run too, and those that
# compare with diffusers.
.venv/everything: .venv/prepare
	@$(INSTALL) --editable '.[bench]'
	@touch $@

test: lint
	$(BIN)/pytest

# One test of each room.
quick: venv
	$(BIN)/pytest -m quick

# What a release is checked with, by hand: half an hour of processor time, most of it in one process.
campaign: .venv/everything
	$(BIN)/pytest -m campaign

lint: venv
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy

bench: venv
	$(BIN)/python -m benchmarks.run

clean:
	rm -rf .venv demo
