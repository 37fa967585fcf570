"""The corpus of `clipseed demo`: a made world, films of it, and the truth."""
