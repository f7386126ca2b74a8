"""Molecules by the million: shards, their index, and the actors that write them."""
