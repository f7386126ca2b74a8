"""How good molecules are, and how close to those of a reference: protocols, parts, cards."""
