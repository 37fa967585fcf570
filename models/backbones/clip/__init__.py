"""OpenAI CLIP."""
