"""YAML as it is meant: a key that is given twice is a mistake, and a short text cannot stand for a huge one."""

from typing import Any

import yaml

from ead_core.errors import one_line

MOST_NODES = 100_000
MERGE = "tag:yaml.org,2002:merge"  # `<<: *defaults` may be overridden


def parse_yaml(text: str | bytes) -> Any:
    """The content of a YAML document of plain values; None if it is empty.

    Raises:
        ValueError: with one line that says why it cannot be read: not valid, not UTF-8 or UTF-16, a key given twice,
            nested too deeply, or more than MOST_NODES values once its references are written out.
    """
    try:
        loader = yaml.SafeLoader(text)
        try:
            node = loader.get_single_node()
            if node is None:
                return None
            _Check(loader).size(node)
            return loader.construct_document(node)
        finally:
            loader.dispose()
    except yaml.YAMLError as error:
        raise ValueError(one_line(error)) from error
    except RecursionError as error:
        raise ValueError("it is nested too deeply") from error


class _Check:
    """Walks over a document once, however often its parts are referred to."""

    def __init__(self, loader: yaml.SafeLoader) -> None:
        self._loader = loader
        self._sizes: dict[int, int] = {}

    def size(self, node: yaml.Node) -> int:
        """Values in a node with its references written out (ValueError: see `parse_yaml`)."""
        if id(node) not in self._sizes:
            self._sizes[id(node)] = MOST_NODES + 1  # of a node that refers to itself
            self._sizes[id(node)] = 1 + sum(map(self.size, self._children(node)))
        if self._sizes[id(node)] > MOST_NODES:
            raise ValueError(f"it holds more than {MOST_NODES:,} values, or refers to itself")
        return self._sizes[id(node)]

    def _children(self, node: yaml.Node) -> list[yaml.Node]:
        if isinstance(node, yaml.MappingNode):
            self._require_distinct(node)
            return [child for pair in node.value for child in pair]
        return list(node.value) if isinstance(node, yaml.SequenceNode) else []

    def _require_distinct(self, node: yaml.MappingNode) -> None:
        lines: dict[Any, int] = {}
        for key, _ in node.value:
            if not isinstance(key, yaml.ScalarNode) or key.tag == MERGE:
                continue
            name, line = self._loader.construct_object(key), key.start_mark.line + 1
            if name in lines:
                raise ValueError(f"the key '{key.value}' is given twice, in line {lines[name]} and in line {line}")
            lines[name] = line
