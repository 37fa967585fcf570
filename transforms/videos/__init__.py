"""The corpus: its videos, listed and filtered."""
