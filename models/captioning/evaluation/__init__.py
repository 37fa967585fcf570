"""How well a trained captioner writes about the clips of a run."""
