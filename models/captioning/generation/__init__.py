"""Text from a decoder: greedy and beam search."""
