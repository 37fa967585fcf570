"""Frames against seeds: matched, selected and captioned."""
