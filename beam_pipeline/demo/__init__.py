"""The corpus of `clipseed demo`: a synthetic world, films of it, and the truth."""
