"""Clips and their sound: cut and written."""
