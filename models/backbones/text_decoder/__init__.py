"""Decoders of text: GPT-2, OPT, and those of published captioners."""
