"""Is a set of 3D molecules good? Measures per molecule, and one card of the whole."""
