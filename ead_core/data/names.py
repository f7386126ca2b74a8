"""Names of properties in files that cannot hold every name."""

from collections.abc import Callable, Iterable, Mapping


def fitting_names(names: Iterable[str], fit: Callable[[str], str]) -> dict[str, str]:
    """The name of each property in a file, all of them different.

    Args:
        names: of the properties.
        fit: the nearest to a name that the file can hold; a name that fits stays as it is.
    """
    fitting = {name: fit(name) for name in names}
    taken = {name for name, new in fitting.items() if new == name}
    for name in [name for name in fitting if name not in taken]:
        while fitting[name] in taken:
            fitting[name] += "_"
        taken.add(fitting[name])
    return fitting


def renaming_notes(names: Mapping[str, str]) -> list[str]:
    """A sentence for each property that has another name in the file."""
    return [f"property {name!r} is called {new!r} in the file." for name, new in names.items() if new != name]
