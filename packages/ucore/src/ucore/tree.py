"""A structure: its root, all nodes in it, and the one way in which their content changes.

Rules
-----
- ``Tree.apply`` is the only writer.  While it runs the tree is marked ``interrupted``; the mark is
  set before the first change and taken off after the last, so whatever stops it half-way (a
  KeyboardInterrupt at any line) leaves either a whole tree or a marked one.
- An operation that fails is data, not an exception: the operations before it are taken back by
  their inverses, and every replica does the same.  Applying raises only when this replica
  cannot go on (``LocalDivergenceError``), and leaves the mark.
- A declaration of the nesting stands even if an operation behind it fails: what a group is for must
  not depend on whether its first change worked, and a replica of another kind, on which everything
  fails, has to learn it as well.
- Removed nodes are remembered weakly by id, so that undo and replay fill the same objects.

Rejected: changing a copy and swapping it in (a change would cost as much as the structure), and a
journal of Python closures (an inverse has to be sent).
"""

from __future__ import annotations

import os
import weakref
from typing import Any, Final
from weakref import WeakValueDictionary

from .base import NOTHING_GIVEN, ROOT_ID, Applied, Effect, Node, NodeId, OpFailure, Owner, Strict
from .change import Change, Failed, snapshot
from .codes import INCREMENT, OPS_VERSION
from .dumps import dumped, read_dump
from .errors import (
    LocalDivergenceError,
    MalformedUpdateError,
    StaleHandleError,
    UnstorableError,
    UpgradeNeededError,
)
from .map_ops import has_node, incremented_by_all
from .ops import OPERATIONS, Step, is_count
from .primitives import DEPTH_MAX, Plain
from .registry import short
from .runs import Run, Told, told_of
from .updatable import Update

DEBUG: Final = os.environ.get("UCORE_DEBUG", "") not in ("", "0")


class Tree:
    """See the module.  *root* is an empty node without a tree; it becomes this tree's root."""

    __slots__ = (
        "_ghosts", "_plain", "_shadow", "debug", "interrupted", "nodes", "owner", "position",
        "recordings", "root", "skeleton", "transaction",
    )  # fmt: skip

    def __init__(self, root: Node, owner: Owner | None = None) -> None:
        self.root = root
        self.owner = owner
        self.position = 0
        self.skeleton: Plain = None
        self.nodes: dict[NodeId, Node] = {ROOT_ID: root}
        self.interrupted = False
        self.recordings: list[list[Update]] = []
        self.transaction: weakref.ref[object] | None = None
        self._ghosts: WeakValueDictionary[NodeId, Node] = WeakValueDictionary()
        # The context of every change of which nothing is noted: most of them.
        self._plain = Change(self, 0, None, None)
        self.debug = DEBUG
        self._shadow = ""
        root._tree = self
        root._id = ROOT_ID
        root._depth = 1
        root._count = 0
        self._note_shadow()

    # ------------------------------------------------------------ changing

    def apply(
        self,
        update: Update,
        position: int,
        *,
        effects: list[Effect] | None = None,
        inverse: bool = False,
    ) -> Applied:
        """Apply *update* as the change at *position*, which lies behind ``self.position``.

        *effects* is extended by every elementary change, *inverse* asks for the update that takes
        it back.  A failing operation is told in the answer; then nothing but the position
        has changed.  Raises LocalDivergenceError when a node was changed past ucore.
        """
        assert position > self.position, f"change {position} after change {self.position}"
        steps = update._steps or update.steps
        undo: list[list[object]] | None = None
        noted = 0
        if len(steps) == 1 and effects is None and not inverse:
            change = self._plain
            change.position = position
        else:
            undo = [] if inverse or len(steps) > 1 else None
            noted = len(effects) if effects is not None else 0
            change = Change(self, position, undo, effects)
        results: list[object] = []
        failure = None
        self.interrupted = True
        try:
            for step in steps:
                results.append(self._run(step, change))
        except Failed as failed:
            failure = OpFailure(len(results), failed.error)
            self._take_back(undo, position)
            if effects is not None:
                del effects[noted:]
        self.position = position
        if failure is None:
            for recording in self.recordings:
                recording.append(update)
        if self.debug:
            self._note_shadow()
        self.interrupted = False
        if failure is not None:
            return Applied([], failure, None)
        if change is self._plain:
            if results[0] is None:
                return NOTHING_GIVEN
            return tuple.__new__(Applied, (results, None, None))  # a third of what Applied() takes
        return Applied(results, None, Update(undo[::-1]) if inverse and undo is not None else None)

    def apply_run(self, run: Run, position: int, *, told: list[Told] | None = None) -> bool:
        """Apply the changes of *run*, of which the last is the one at *position*.

        Only if all of them together come to the same as each by ``apply`` (see ``runs``): otherwise
        nothing has happened, and the answer is False.  *told* gets what they do.
        """
        assert position - self.position >= len(run.values), f"too many changes up to {position}"
        node = self.nodes.get(run.target)
        if node is None or self.recordings or self.debug:
            return False
        raw: Any = node._raw()
        if node._kind_ not in OPERATIONS[run.code].kinds or len(raw) != node._count:
            return False
        pairs: Any = zip(run.keys, run.values, strict=True)
        if run.code == INCREMENT:
            pairs = incremented_by_all(raw, run.keys, run.values)
            if pairs is None:
                return False
        elif len(self.nodes) > 1 and has_node(raw, run.keys):
            return False
        if told is not None:
            told.append(told_of(run, node, raw))
        self.interrupted = True
        if run.keys:
            dict.update(raw, pairs)
        else:
            list.extend(raw, run.values)
        node._count = len(raw)
        self.position = position
        self.interrupted = False
        return True

    def _run(self, step: Step, change: Change) -> object:
        """One operation; raises ``Failed`` before it has changed anything."""
        run, kinds, target, arguments, ids, depth = step
        node = self.nodes.get(target)
        if node is None and not target[0]:  # one that this very change has made
            target = (change.position, target[1])
            node = self.nodes.get(target)
        if node is None or node._kind_ not in kinds:
            raise Failed(_no_such_node(node, target, kinds))
        raw = node._raw()
        if len(raw) != node._count:
            raise _diverged(node)
        if depth:
            if ids:
                self._check_new(ids, change.position)
            if node._depth + depth > DEPTH_MAX:
                raise Failed(UnstorableError(f"containers nested more than {DEPTH_MAX} deep"))
        result = run(change, node, raw, arguments)
        node._count = len(raw)
        return result

    def _check_new(self, ids: tuple[NodeId, ...], position: int) -> None:
        for node_id in ids:
            if node_id in self.nodes or node_id[0] >= position:
                message = f"node {node_id} cannot be brought back at change {position}"
                raise Failed(MalformedUpdateError(message))

    def _take_back(self, undo: list[list[object]] | None, position: int) -> None:
        """Run the inverses that were noted so far, the last one first."""
        if undo:
            # One further on, because what the change itself has made may have to come back.
            change = Change(self, position + 1, None, None)
            for step in Update(undo[::-1]).steps:
                self._run(step, change)

    def submit(self, update: Update, strict: Strict | None) -> Applied:
        """Bring *update* into the order: through the owner, or alone as the next change.

        Alone, an update that fails leaves no trace, not even a used position.
        """
        if self.owner is not None:
            return self.owner.submit(update, strict)
        position = self.position
        applied = self.apply(update, position + 1)
        if applied.failure is not None:
            self.position = position
        return applied

    # ------------------------------------------------------------ nodes that come and go

    def bury(self, node: Node) -> None:
        """Take *node* and all nodes in it out; handles to them stay readable."""
        left = [node]
        while left:
            node = left.pop()
            self._ghosts[node._id] = node
            del self.nodes[node._id]
            left += [child for child in node._elements() if isinstance(child, Node)]

    def revive(self, node_id: NodeId, kind: str) -> Node | None:
        """The object that had this id, emptied, if somebody still holds it."""
        node = self._ghosts.get(node_id) if self._ghosts else None
        if node is None or node._kind_ != kind:
            return None
        _empty(node)
        return node

    def forget(self, node_id: NodeId) -> None:
        """The node with this id is live: it need not be remembered any more."""
        if self._ghosts:
            self._ghosts.pop(node_id, None)

    def reset(self) -> None:
        """Back to the empty beginning; a replay fills the same handles again."""
        self.interrupted = True
        self._begin_again()
        self._note_shadow()
        self.interrupted = False

    def _begin_again(self) -> None:
        for node_id, node in self.nodes.items():
            if node is not self.root:
                self._ghosts[node_id] = node
        self.nodes = {ROOT_ID: self.root}
        _empty(self.root)
        self.root._count = 0
        self.position = 0
        self.skeleton = None

    # ------------------------------------------------------------ looking

    def in_transaction(self) -> bool:
        """Whether a transaction on this structure is open: nothing else may change it then."""
        return self.transaction is not None and self.transaction() is not None

    def verify(self, node: Node) -> None:
        """Raise LocalDivergenceError if *node* was changed past ucore, as far as ``len`` shows."""
        if len(node._raw()) != node._count:
            self._suspect()
            raise _diverged(node)

    def _suspect(self) -> None:
        """Have the owner rebuild the tree at the next call; a value alone has nothing to go by."""
        if self.owner is not None:
            self.interrupted = True

    def verify_all(self) -> None:
        """``verify`` for every node; under UCORE_DEBUG=1, compare the whole content."""
        for node in self.nodes.values():
            self.verify(node)
        if self.debug and repr(snapshot(self.root)) != self._shadow:
            self._suspect()
            raise LocalDivergenceError(
                "the content is not what the updates made of it: something wrote past ucore "
                "(list.append(v, x), heapq, dict.update(m, ...)); use the structure's own methods"
            )

    def audit(self) -> None:
        """Assert what must hold between updates: for tests, and for whoever doubts."""
        assert not self.interrupted
        found: dict[NodeId, Node] = {}
        left = [(self.root, 1)]
        while left:
            node, depth = left.pop()
            assert node._id not in found, f"{node._id} stands in two places"
            found[node._id] = node
            assert (node._tree, node._depth, node._count) == (self, depth, len(node._raw()))
            left += [(child, depth + 1) for child in node._elements() if isinstance(child, Node)]
        assert found == self.nodes, "the nodes known are not the nodes there"
        assert not set(found) & set(self._ghosts), "a node is both there and gone"

    def _note_shadow(self) -> None:
        """Under UCORE_DEBUG=1: remember the content as the updates have made it."""
        if self.debug:
            self._shadow = repr(snapshot(self.root))

    # ------------------------------------------------------------ dump and load

    def dump(self) -> list[Plain]:
        """``[version, position, skeleton, root]``: everything, node ids included."""
        return [OPS_VERSION, self.position, self.skeleton, dumped(self.root)]

    def load(self, plain: object) -> None:
        """Become what was dumped.  Raises as ``Update.from_plain`` does, and changes nothing then."""
        if type(plain) is not list or not plain or type(plain[0]) is not int:
            raise MalformedUpdateError(f"not a dump: {short(plain)}")
        if plain[0] != OPS_VERSION:
            raise UpgradeNeededError(plain[0])
        if len(plain) != 4 or not is_count(plain[1]):
            raise MalformedUpdateError("a dump is [version, position, skeleton, root]")
        _, position, skeleton, root = plain
        literal = read_dump(root, skeleton, position)
        if literal.kind != self.root._kind_:
            raise MalformedUpdateError(
                f"the dump of a {literal.kind} cannot become a {self.root._kind_}"
            )
        self.interrupted = True
        self._begin_again()
        Change(self, position, None, None).fill(self.root, literal)
        self.position = position
        self.skeleton = skeleton
        self._note_shadow()
        self.interrupted = False


def _empty(node: Node) -> None:
    raw = node._raw()
    if isinstance(raw, dict):
        dict.clear(raw)
    else:
        list.clear(raw)


def _no_such_node(node: Node | None, target: NodeId, kinds: tuple[str, ...]) -> StaleHandleError:
    if node is None:
        return StaleHandleError(
            f"container {target} is no longer part of the structure; it can be read, not changed"
        )
    return StaleHandleError(f"container {target} is a {node._kind_}, not a {' or '.join(kinds)}")


def _diverged(node: Node) -> LocalDivergenceError:
    return LocalDivergenceError(
        f"container {node._id} has {len(node._raw())} elements instead of {node._count}: something "
        "wrote past ucore (list.append(v, x), heapq, dict.update(m, ...)); use its own methods"
    )
