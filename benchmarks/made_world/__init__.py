"""A made world: what is mined in it and learned from that, where all truth is known."""
