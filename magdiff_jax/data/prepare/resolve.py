"""Which models a config means, to the revision: found out once, before the work is handed out."""

import dataclasses
from collections.abc import Mapping
from typing import Any

from magdiff_jax.data import kinds
from magdiff_jax.data.prepare import stages
from magdiff_jax.data.prepare.config import PrepareConfig


def resolve(config: PrepareConfig) -> PrepareConfig:
    """The config with each model's exact revision in its name, as in `revisions`.

    Models that it leaves to the defaults are named too; paths become absolute. Weights are not fetched.

    Raises:
        ConfigError: an unknown kind, or arguments that it does not take or lacks.
        UserError: a model is nowhere, is of another type or has another revision than the config says.
    """
    return dataclasses.replace(
        config,
        captioner=config.captioner and _resolved("captioner", stages.CAPTIONERS, config.captioner),
        noun_finder=_resolved("noun finder", stages.NOUN_FINDERS, config.noun_finder),
        similarity=_resolved("similarity", stages.SIMILARITIES, config.similarity),
        segmenter=_resolved("segmenter", stages.SEGMENTERS, config.segmenter),
    )


def _resolved(what: str, table: Mapping[str, str], spec: Mapping[str, Any]) -> dict[str, Any]:
    cls, bound = kinds.read(what, table, spec)
    # Kinds without weights have none.
    pins = getattr(cls, "models", {})
    return {**spec, **{key: pin(bound.arguments[key]) for key, pin in pins.items()}}
