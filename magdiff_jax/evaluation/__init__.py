"""Metrics of the miniature suite: what a clip shows, read from its pixels alone, beside EmojiMotion's exact truth."""

# What the suite samples with.
STEPS, GUIDANCE_SCALE = 25, 2.0
