"""Training: pieces that `train.py` reads like a page."""
