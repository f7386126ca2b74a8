"""Operations on pairs of atoms in C++, compiled at their first use."""
