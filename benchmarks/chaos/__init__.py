"""Jobs that are killed, starved and confused, and what they end with."""
