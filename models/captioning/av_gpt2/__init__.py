"""AV-GPT2: the captioner of the paper, over the tokens of the audio-visual encoder."""
