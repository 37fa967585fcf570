"""Captions from other sources than seeds: speech, and captioners of images."""
