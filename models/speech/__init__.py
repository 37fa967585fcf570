"""Speech recognizers: sound to timed text."""
