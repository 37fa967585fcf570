"""Captioned images: read, loaded, embedded and indexed."""
