"""Damaged and hostile media, made from good ones, and what becomes of them."""
