"""What operations work with while an update is applied: the change's context and its values.

A container literal in an update is kept as a ``Literal`` until it is applied, because a node's
id holds the position at which its change landed.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, cast

from .base import CONTAINERS, Effect, Node, NodeId
from .codes import MAP_NODE, STACK_NODE, VEC_NODE
from .primitives import encode, encode_key
from .types import ANY

if TYPE_CHECKING:
    from .tree import Tree

NODE_CODES = {"map": MAP_NODE, "vec": VEC_NODE, "stack": STACK_NODE}


class Failed(Exception):
    """An operation cannot take effect where it landed; *error* is what its author gets."""

    def __init__(self, error: Exception) -> None:
        super().__init__(error)
        self.error = error


class Literal:
    """A container in an update's text, its leaves decoded.

    *ident* is its ordinal in the update, or the id that the update gives it.  *content* is a
    dict or a list; *nested* says whether literals are among its values; *depth* counts levels
    of containers, this one included.
    """

    __slots__ = ("content", "depth", "ident", "kind", "nested")

    def __init__(self, kind: str, ident: int | NodeId) -> None:
        self.kind = kind
        self.ident = ident
        self.content: dict[object, object] | list[object] = []
        self.nested = False
        self.depth = 1


class Change:
    """One run of an update over a tree: where it landed, and what is to be noted of it."""

    __slots__ = ("effects", "plain", "position", "tree", "undo")

    def __init__(
        self,
        tree: Tree,
        position: int,
        undo: list[list[object]] | None,
        effects: list[Effect] | None,
    ) -> None:
        self.tree = tree
        self.position = position
        self.undo = undo
        self.effects = effects
        self.plain = undo is None and effects is None

    def build(self, literal: Literal, parent: Node) -> Node:
        """The node for *literal* in *parent*: a new object, or the one that had this id."""
        ident = literal.ident
        node_id = (self.position, ident) if type(ident) is int else cast(NodeId, ident)
        tree = self.tree
        node = tree.revive(node_id, literal.kind)
        if node is None:
            cls = CONTAINERS[literal.kind]
            node = cls.__new__(cls)
            node._tree = tree
            node._id = node_id
        spec = parent._spec
        node._spec = ANY if spec is ANY else spec.value.child(literal.kind)
        node._depth = parent._depth + 1
        # In nodes first, out of the ghosts second: an interruption must not lose a handle.
        tree.nodes[node_id] = node
        tree.forget(node_id)
        self.fill(node, literal)
        return node

    def fill(self, node: Node, literal: Literal) -> None:
        """Put *literal*'s content into *node*, which is empty."""
        content = literal.content
        raw = node._raw()
        if isinstance(content, dict):
            if literal.nested:
                content = {
                    key: self.build(value, node) if type(value) is Literal else value
                    for key, value in content.items()
                }
            dict.update(cast("dict[object, object]", raw), content)
        else:
            if literal.nested:
                content = [
                    self.build(value, node) if type(value) is Literal else value
                    for value in content
                ]
            list.extend(cast("list[object]", raw), content)
        node._count = len(content)

    def detach(self, node: Node) -> None:
        """Take *node* and everything in it out of the tree."""
        self.tree.bury(node)


def builtin(value: object) -> object:
    """*value* with every container as a plain dict or list, all the way down.

    A stack becomes the list from its bottom to its top.
    """
    if not isinstance(value, Node):
        return value
    raw = value._raw()
    if isinstance(raw, dict):
        items = dict.items(raw)
        return {key: builtin(item) if isinstance(item, Node) else item for key, item in items}
    return [builtin(item) if isinstance(item, Node) else item for item in list.__iter__(raw)]


def snapshot(value: object) -> object:
    """The plain form of *value* with the ids of its nodes."""
    if not isinstance(value, Node):
        return encode(value)
    found: list[object] = [NODE_CODES[value._kind_], *value._id]
    raw = value._raw()
    if isinstance(raw, dict):
        for key, item in dict.items(raw):
            found += (encode_key(key), snapshot(item))
    else:
        found += map(snapshot, list.__iter__(raw))
    return found


class _Probe:
    """Equal to a key, and remembers which stored key it was compared with."""

    __slots__ = ("found", "key")

    def __init__(self, key: object) -> None:
        self.key = key
        self.found: object = key

    def __hash__(self) -> int:
        return hash(self.key)

    def __eq__(self, other: object) -> bool:
        # A stored key that is equal in this sense is the one that dict would find.
        if self.key == other:
            self.found = other
            return True
        return False


def stored_key(raw: dict[object, object], key: object) -> object:
    """The key under which *raw* holds what it finds under *key*: 1 for True, for instance.

    A dict does not tell; it compares the stored key with an object that does, so this costs
    one look-up and not a search.
    """
    probe = _Probe(key)
    # Not by an override of a map's own; a transaction's map is no dict.
    found = dict.__contains__(raw, probe) if isinstance(raw, dict) else probe in raw
    assert found
    return probe.found
