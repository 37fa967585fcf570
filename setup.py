"""The distribution `clipseed`; pyproject.toml says what is in it."""

from setuptools import setup

setup()
