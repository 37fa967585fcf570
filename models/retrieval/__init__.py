"""Text-to-video retrieval: models, losses, metrics and evaluation."""
