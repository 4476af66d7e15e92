"""What is routed of a conversation, and which conversation it is. Pure.

A follow-up ("commit it", "now in French") says nothing by itself, and a conversation as a whole
drowns a change of topic. So two texts are read: the last user turn alone, and a window of the last
few turns. Only user turns count: what the model wrote shows what was answered, not what is asked.

Every shape of a message has a meaning here:

- A string is its text. Of content parts the text ones count, one per line; images, audio and files
  are nothing to a router that reads text.
- A user message without text (an image alone, a reminder that is stripped) is no turn: what was
  asked before it still stands.
- Assistant, tool and system messages are never routed.
- Without any user text the routed text is empty: the router is not asked and nothing is chosen.
- A text over its limit is cut to its beginning and its end.
"""

from __future__ import annotations

import hashlib
import re
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import orjson

from coe.composition import Context
from coe.extract import text_of

Headers = Sequence[tuple[bytes, bytes]]
Message = Mapping[str, Any]

# Of the turns before the last one, the router needs the topic and not the text: a long one would
# outweigh the question, in the mean over tokens that a sentence encoder takes.
EARLIER_CHARS = 200

_REMINDER = re.compile(r"<(/?)system[-_]reminder>")
_FENCE = re.compile(r"^[ \t]*(```+|~~~+)[ \t]*([\w+#.-]*)", re.MULTILINE)


@dataclass(frozen=True, slots=True, kw_only=True)
class Window:
    """What is routed of a conversation.

    Attributes:
        turn: the text of the last user turn that has any; empty where none has.
        text: it, and after it the turns before it, the newest first; the same as `turn` where
            there are none. (Newest first, because an encoder reads the beginning of a long text,
            and because it finds changes of topic better: 31 of 32 against 29, and no worse
            follow-ups, on the dialogues of tests/data that are there to choose by.)
        previous: the text of the turn before the last; None where there is none.
        turns: how many user turns `text` holds.
        in_tool_loop: whether the user has not spoken since the model called a tool.
    """

    turn: str
    text: str
    previous: str | None
    turns: int
    in_tool_loop: bool


@dataclass(frozen=True, slots=True, kw_only=True)
class SessionKey:
    """Which session a request belongs to.

    Attributes:
        source: where the key is from, as the composition writes it: `header:x-session-id`, ...
        here: where this turn's decision is remembered.
        before: where that of the turn before it was; None where there can be none.
        turn: a digest of the last user turn.
        owner: what all turns of the conversation share; others of the same user, or that begin
            alike, may share it too.
    """

    source: str
    here: bytes
    before: bytes | None
    turn: bytes
    owner: bytes


def read(messages: Sequence[Message], context: Context) -> Window:
    """Return the window of a conversation: its last `context.turns` user turns."""
    found: list[str] = []
    for message in reversed(messages):
        if message["role"] == "user":
            text = stripped(text_of(message.get("content")), context)
            if text:
                found.append(text)
                # One more than the window holds, if it is one turn only: `previous` needs it.
                if len(found) >= max(context.turns, 2):
                    break
    if not found:
        return Window(turn="", text="", previous=None, turns=0, in_tool_loop=in_tool_loop(messages))
    turn = clipped(found[0], context.max_chars)
    room = context.max_chars - len(turn)
    parts = [turn]
    for earlier in found[1 : context.turns]:
        part = clipped(earlier, min(EARLIER_CHARS, room - 1))
        if not part:
            break
        parts.append(part)
        room -= len(part) + 1
    return Window(
        turn=turn,
        text="\n".join(parts),
        previous=found[1] if len(found) > 1 else None,
        turns=len(parts),
        in_tool_loop=in_tool_loop(messages),
    )


def in_tool_loop(messages: Sequence[Message]) -> bool:
    """Whether the model called a tool after the user last spoke.

    A user message of nothing but `tool_result` parts, as other dialects of the API have it, is a
    tool's and not the user's.
    """
    for message in reversed(messages):
        role = message["role"]
        if role in {"tool", "function"} or message.get("tool_calls"):
            return True
        if role == "user":
            return _is_tool_result(message.get("content"))
    return False


def session_key(
    window: Window,
    sources: Iterable[str],
    *,
    headers: Headers,
    body: Mapping[str, Any],
    context: Context,
    tenant: str,
) -> SessionKey | None:
    """Return the key from the first source that has one; None where none has.

    The same words of two tenants are two sessions: nobody steers or reads another one's by naming
    it.

    - `header:NAME` names one conversation: what is remembered under it is its last decision.
    - `body:FIELD` (`user`, `prompt_cache_key`) may name someone who has several conversations at
      once, and a derived key is shared by conversations that begin alike. Under these, a decision
      is remembered together with the turn that it was made for, and found again only by a
      conversation that has this turn as its last but one.
    - `derived` is made of the system prompt, the tools and the first user turn.
    """
    turn = _digest(b"turn", window.turn)
    for source in sources:
        kind, _, name = source.partition(":")
        if kind == "header":
            if given := _header(headers, name):
                here = _digest(_scope(source, tenant), given)
                return SessionKey(source=source, here=here, before=here, turn=turn, owner=here)
            continue
        value = derived(body, context) if kind == "derived" else body.get(name)
        if not value or not isinstance(value, str | bytes):
            continue
        owner = _digest(_scope(source, tenant), value)
        previous = window.previous
        return SessionKey(
            source=source,
            here=_digest(owner, turn),
            before=None if previous is None else _digest(owner, _digest_turn(previous, context)),
            turn=turn,
            owner=owner,
        )
    return None


def derived(body: Mapping[str, Any], context: Context) -> bytes:
    """Return a digest of what a conversation keeps while it grows.

    These are the system prompt, the tools and the first user turn: clients send the whole
    conversation each time. A clock in the system prompt makes every request a new session.
    """
    state = hashlib.blake2b(digest_size=16)
    for message in body["messages"]:
        text = text_of(message.get("content"))
        if message["role"] == "user":
            text = stripped(text, context)
            state.update(b"\x00user\x00" + _bytes(text))
            if text:
                break
        elif message["role"] in {"system", "developer"}:
            state.update(b"\x00system\x00" + _bytes(text))
    if tools := body.get("tools"):
        state.update(b"\x00tools\x00" + orjson.dumps(tools))
    return state.digest()


def stripped(text: str, context: Context) -> str:
    """Return a user's text without what programs put into it, and without space around it."""
    if context.strip_reminders and "<system" in text:
        text = _without_reminders(text)
    if context.code_blocks_over is not None and len(text) > context.code_blocks_over:
        text = _without_long_code(text, context.code_blocks_over)
    return text.strip()


def clipped(text: str, limit: int) -> str:
    """Return a text of at most `limit` characters: the beginning and the end of a longer one."""
    if len(text) <= limit:
        return text
    if limit < 3:  # noqa: PLR2004 - no room for two ends and a line break
        return ""
    head = limit // 2
    return f"{text[:head]}\n{text[len(text) - (limit - head - 1) :]}"


def _without_reminders(text: str) -> str:
    """Drop `<system-reminder>` blocks; in one pass, whatever is nested or left open.

    A block that is never closed is left as it is: it may be what the user asks about.
    """
    kept, end, opened = [], 0, None
    for mark in _REMINDER.finditer(text):
        if not mark[1]:
            opened = mark.start() if opened is None else opened
        elif opened is not None:
            kept.append(text[end:opened])
            end, opened = mark.end(), None
    return "".join([*kept, text[end:]])


def _without_long_code(text: str, limit: int) -> str:
    """Leave of a fenced block over `limit` characters its fence, which names the language.

    As in Markdown, a block ends at a fence of the same kind, at least as long and without a
    language, or else with the text.
    """
    kept: list[str] = []
    end, block = 0, None
    for fence in _FENCE.finditer(text):
        if block is None:
            block = fence
        elif fence[1].startswith(block[1]) and not fence[2]:
            if fence.end() - block.start() > limit:
                kept += [text[end : block.end()], "\n"]
                end = fence.start()
            block = None
    if block is not None and len(text) - block.start() > limit:
        return "".join([*kept, text[end : block.end()]])
    return "".join([*kept, text[end:]])


def _is_tool_result(content: object) -> bool:
    return (
        isinstance(content, list)
        and bool(content)
        and all(part.get("type") == "tool_result" for part in content)
    )


def _digest_turn(text: str, context: Context) -> bytes:
    """Return the digest that a turn had when it was the last one."""
    return _digest(b"turn", clipped(text, context.max_chars))


def _header(headers: Headers, name: str) -> bytes:
    wanted = name.lower().encode()
    return next((value for key, value in headers if key == wanted), b"")


def _scope(source: str, tenant: str) -> bytes:
    # A source holds no NUL, so that no source with a tenant is another one with another.
    return f"{source}\x00{tenant}".encode() if tenant else source.encode()


def _digest(scope: bytes, value: str | bytes) -> bytes:
    """Return 16 bytes of a value within a scope: neither keys nor prompts are kept in memory."""
    state = hashlib.blake2b(scope, digest_size=16)
    state.update(b"\x00" + (_bytes(value) if isinstance(value, str) else value))
    return state.digest()


def _bytes(text: str) -> bytes:
    return text.encode("utf-8", "surrogatepass")
