# Everything is set up by itself: `make demo`, `make train`, `make test`.

PYTHON ?= python3
BIN := .venv/bin

.PHONY: help venv demo data train miniature test lint bench clean

help:
	@echo "make demo      install, then generate and edit clips of subjects that the miniature has never seen, into demo/"
	@echo "make data      install, then make records and reports of EmojiMotion and of real clips, into demo/data/"
	@echo "make train     install, then train a small VAE and a small MagDiff on EmojiMotion, into runs/; goes on where it was"
	@echo "make miniature install, then train the whole method in miniature, for hours, into runs/miniature; goes on where it was"
	@echo "make test      install, then lint, check types and run the tests"
	@echo "make bench     install, then measure speed and memory on this machine"
	@echo "make venv      install into .venv (with uv where there is one)"
	@echo "make clean     remove .venv and demo/"

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
	@$(BIN)/python -m pip install --quiet --disable-pip-version-check --constraint constraints.txt --editable '.[prepare,demo]'
	@touch $@

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
