"""Messages that name their parent, a row each, as OpenAssistant has them: `{"message_id", "parent_id", "role", "text",
"rank"}`, or one tree a row (`{"prompt": {"text", "replies": [...]}}`).

`message-tree` gives a chat for every path from a first message to a last one, in which each answer is trained once;
`message-tree-pairs` gives the best- and the worst-ranked of several answers. All of a tree is one group.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass, field, replace
from typing import Any

from medray.config.data import DataConfig
from medray.data.files.data_file import RawRow
from medray.data.parsing.dialogue import parse_dialogue
from medray.data.parsing.fields import Fields, finite_number, require
from medray.data.parsing.language import text_group
from medray.data.parsing.roles import normal, role_of
from medray.data.schema import RowSchema
from medray.data.schemas.preference import check_pair
from medray.data.schemas.sharegpt import chat_record
from medray.data.source import LeftOut, RowError
from medray.types import Record

_IDS, _TREES = ("messageid", "id"), ("messagetreeid", "treeid", "conversationid")
_ANSWERS = ("assistant", "gpt", "bot")


@dataclass(slots=True)
class _Node:
    """A message of a tree, with the messages that answer it in the order of their ranks."""

    raw: RawRow
    id: str
    parent: str
    turn: dict[str, Any]
    rank: float
    replies: list[_Node] = field(default_factory=list["_Node"])

    @property
    def is_answer(self) -> bool:
        return str(self.turn["role"]).lower() in _ANSWERS


def parse_path(row: dict[str, Any], where: str, config: DataConfig) -> Record:
    """One path through a tree as a chat."""
    record = chat_record({}, where, parse_dialogue(row["turns"], "turns", thinking=config.thinking))
    return replace(record, source=where.rpartition(":")[0], group_id=text_group(row["tree"]))


def parse_siblings(row: dict[str, Any], where: str, config: DataConfig) -> Record:
    """The best and the worst of several answers to one message."""
    prompt = parse_dialogue(row["turns"], "turns", thinking=config.thinking)
    chosen, rejected = (parse_dialogue([row[key]], key) for key in ("chosen", "rejected"))
    check_pair(prompt, chosen, rejected)
    record = chat_record({}, where, prompt, task="preference", chosen=chosen, rejected=rejected)
    return replace(record, group_id=text_group(row["tree"]))


def gather_paths(raw_rows: Iterable[RawRow]) -> Iterator[RawRow]:
    """Every path from a first message to a last answer; an answer that an earlier path has is not trained again."""
    return _gathered(raw_rows, _paths)


def gather_siblings(raw_rows: Iterable[RawRow]) -> Iterator[RawRow]:
    """Every message with its best- and its worst-ranked answer."""
    return _gathered(raw_rows, _siblings)


def _gathered(
    raw_rows: Iterable[RawRow], read: Callable[[_Node], Iterator[RawRow]]
) -> Iterator[RawRow]:
    """Rows that stand together with one tree id (all rows, without such a column) as trees, each read by `read`."""
    held: list[_Node] = []
    current: object = None
    for raw in raw_rows:
        if isinstance(raw.fields, RowError):
            yield raw
            continue
        try:
            nodes = _nodes(raw, raw.fields)
        except RowError as error:
            yield replace(raw, fields=error)
            continue
        tree = next((value for key, value in raw.fields.items() if normal(key) in _TREES), None)
        if held and tree != current:
            yield from _trees(held, read)
            held = []
        current = tree
        held += nodes
    yield from _trees(held, read)


def _nodes(raw: RawRow, fields: dict[str, Any], parent: str | None = None) -> list[_Node]:
    """The message of a row, or all messages of a tree in it."""
    inner = fields.get("prompt")
    if isinstance(inner, dict):
        return _nodes(raw, inner, parent="")
    if fields.get("deleted") is True:
        raise LeftOut("deleted", "the message is marked as deleted")
    names = {normal(key): key for key in fields}
    own = next((fields[names[key]] for key in _IDS if key in names), None)
    above = next((value for key, value in fields.items() if role_of(key) == "parent"), None)
    role = fields.get("role", fields.get("author"))
    text = fields.get("text", fields.get("content"))
    turn = {"role": require({"role": role}, "role"), "content": text}
    rank = fields.get("rank")
    number = finite_number(rank, "rank") if rank is not None else float("inf")
    node = _Node(raw, str(own), str(above or "") if parent is None else parent, turn, number)
    found = [node]
    for i, reply in enumerate(fields.get("replies") or ()):
        below = {"message_id": f"{node.id}/{i}", **reply}
        found += _nodes(raw, below, parent=node.id)
    return found


def _trees(nodes: list[_Node], read: Callable[[_Node], Iterator[RawRow]]) -> Iterator[RawRow]:
    by_id = {node.id: node for node in nodes}
    roots: list[_Node] = []
    for node in nodes:
        if not node.parent:
            roots.append(node)
        elif node.parent in by_id:
            by_id[node.parent].replies.append(node)
        else:
            detail = f"no message of the tree has the id {node.parent!r}; keep the rows of a tree together"
            yield replace(node.raw, fields=RowError("no parent", detail))
    for node in nodes:
        node.replies.sort(key=lambda reply: reply.rank)
    for root in roots:
        yield from read(root)


def _paths(root: _Node) -> Iterator[RawRow]:
    seen = set[str]()
    open_paths = [[root]]
    while open_paths:
        path = open_paths.pop()
        last = path[-1]
        if last.replies:
            open_paths += ([*path, reply] for reply in reversed(last.replies))
            continue
        while path and not path[-1].is_answer:
            path.pop()
        if not any(node.is_answer and node.id not in seen for node in path):
            yield replace(last.raw, fields=LeftOut("unanswered", "no answer follows the message"))
            continue
        turns = [
            {**node.turn, "train": False} if node.is_answer and node.id in seen else node.turn
            for node in path
        ]
        seen |= {node.id for node in path if node.is_answer}
        yield _named(last, {"tree": root.id, "turns": turns})


def _siblings(root: _Node) -> Iterator[RawRow]:
    open_paths = [[root]]
    while open_paths:
        path = open_paths.pop()
        last = path[-1]
        open_paths += ([*path, reply] for reply in reversed(last.replies))
        if last.is_answer:
            continue
        ranked = [reply for reply in last.replies if reply.is_answer and reply.rank < float("inf")]
        if len(ranked) < 2 or ranked[0].rank == ranked[-1].rank:
            yield replace(
                last.raw, fields=LeftOut("tie", "the message has no two answers of different ranks")
            )
            continue
        pair = {"chosen": ranked[0].turn, "rejected": ranked[-1].turn}
        yield _named(last, {"tree": root.id, "turns": [node.turn for node in path], **pair})


def _named(node: _Node, fields: dict[str, Any]) -> RawRow:
    """A row called after the message it ends with, where several messages stand in one row of the file."""
    nested = "prompt" in node.raw.fields if isinstance(node.raw.fields, dict) else False
    mark = f"#{node.id}" if nested else ""
    return replace(node.raw, id=f"{node.raw.id}{mark}", fields=fields)


def _matches(row: Fields) -> bool:
    inner = row.get("prompt")
    if isinstance(inner, dict):
        return "replies" in inner
    has_text = row.get("text") is not None or row.get("content") is not None
    has_role = row.get("role") is not None or row.get("author") is not None
    return has_text and has_role and any(role_of(name) == "parent" for name in row)


SCHEMA = RowSchema(
    name="message-tree",
    summary="messages that name their parent, as OpenAssistant's: a chat for each path",
    stages=("sft", "rl"),
    matches=_matches,
    parse=parse_path,
    gather=gather_paths,
)
PAIRS = RowSchema(
    name="message-tree-pairs",
    summary="the same, as pairs of the best- and the worst-ranked answer",
    stages=("preference", "kto", "sft", "rl"),
    matches=_matches,
    parse=parse_siblings,
    gather=gather_siblings,
)
