"""Metrics of the miniature suite: what a clip shows, read from its pixels alone, beside EmojiMotion's exact truth."""
