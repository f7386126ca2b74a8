"""How elements look in pictures: the colours and relative sizes of Jmol, which chemists know."""

from rdkit import Chem

_JMOL = """
ffffff d9ffff
cc80ff c2ff00 ffb5b5 909090 3050f8 ff0d0d 90e050 b3e3f5
ab5cf2 8aff00 bfa6a6 f0c8a0 ff8000 ffff30 1ff01f 80d1e3
8f40d4 3dff00 e6e6e6 bfc2c7 a6a6ab 8a99c7 9c7ac7 e06633 f090a0 50d050 c88033 7d80b0 c28f8f 668f8f bd80e3 ffa100 a62929 5cb8d1
702eb0 00ff00 94ffff 94e0e0 73c2c9 54b5b5 3b9e9e 248f8f 0a7d8c 006985 c0c0c0 ffd98f a67573 668080 9e63b5 d47a00 940094 429eb0
"""  # noqa: E501 (a row of the periodic table each)
COLOURS = {number: f"#{colour}" for number, colour in enumerate(_JMOL.split(), start=1)}
OTHER_COLOUR = "#b8b8d0"  # of all beyond xenon
BALL = 0.23  # of the van der Waals radius


def colour_of(number: int) -> str:
    """Colour of an element by atomic number, as #rrggbb."""
    return COLOURS.get(int(number), OTHER_COLOUR)


def ball_radius(number: int) -> float:
    """Radius of an element's ball in Å, by atomic number."""
    return BALL * float(Chem.GetPeriodicTable().GetRvdw(int(number)))
