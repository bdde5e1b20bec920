"""Rules give each parameter one value, or say which one they do not."""

import pytest

from magdiff_jax.config import ConfigError
from magdiff_jax.sharding.rules import apply_rules

PATHS = ("unet/conv_in/kernel", "unet/temp_attn/kernel", "vae/conv_in/kernel")


@pytest.mark.quick
def test_each_parameter_has_the_value_of_its_rule() -> None:
    rules = ((r"^unet/temp_", "a"), (r"^vae/", "b"), ("rest", "c"))
    assert apply_rules("key", rules, PATHS) == dict(zip(PATHS, "cab", strict=True))


@pytest.mark.parametrize(
    ("rules", "message"),
    [
        (
            ((r"^unet", 1), (r"conv_in", 2), ("rest", 3)),
            r"key: unet/conv_in/kernel is covered 2 times, by '\^unet' and",
        ),
        (((r"^unet", 1),), r"key: no rule covers vae/conv_in/kernel"),
        (((r"^unet", 1), ("text", 2), ("rest", 3)), r"key: no parameter has 'text' in its path"),
        ((("(", 1), ("rest", 2)), r"key: '\(' is no regular expression"),
        ((("rest", 1), ("rest", 2)), r"'rest' stands there 2 times"),
    ],
)
def test_a_mistake_is_named(rules: tuple, message: str) -> None:
    with pytest.raises(ConfigError, match=message):
        apply_rules("key", rules, PATHS)
