"""Frames of videos: extracted, embedded and cached."""
