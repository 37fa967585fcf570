"""Containers, decoders, frames, sound and images."""
