"""Diffusion as functions of arrays and a `denoise` function; no network is known here."""
