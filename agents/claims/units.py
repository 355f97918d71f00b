"""Cuts a model's stream into units that can be checked: sentences, list items, headings, table rows, code blocks.

Promise: the units joined are the text that was fed, to the letter; a unit is given out as soon as its end is certain,
and the work is linear in the text however it is cut into chunks. A mark after the full stop belongs to the sentence
before it. A sentence that claims something without a mark of its own waits for the mark of the next sentences of its
paragraph: models often put one mark after two sentences, and the mark then has to back both.
"""

from __future__ import annotations

import re
from collections.abc import Iterator

from agents.claims.marks import LOOKS_LIKE_MARK, MARK, MARK_OPENING, needs_mark

MAX_UNIT = 4_000  # characters of prose; a "sentence" without end is cut here
MAX_HELD = 600  # characters, and
MAX_HELD_SENTENCES = 3  # sentences that may wait for one mark
DECIDING = 8  # characters of a line that tell what kind of block it begins

_FENCE = re.compile(r"^[ \t]*(?:(?:[-*+]|\d{1,4}[.)])[ \t]+)*(`{3,}|~{3,})")
_BLOCK_START = re.compile(r"^[ \t]*(?:#{1,6}[ \t]|[-*+][ \t]|\d{1,4}[.)][ \t]|>|\||```|~~~|[-*_]{3,}[ \t]*$)")
_SINGLE_LINE = re.compile(r"^[ \t]*(?:#{1,6}[ \t]|\|)")
_LIST_MARKER = re.compile(r"[ \t]{0,20}(?:(?:[-*+]|\d{1,4}[.)])[ \t]+|>[ \t]?){1,4}")
_END = re.compile(r"[.!?…][\"”’')\]*_`]*(?=\s)")
_ABBREVIATION = re.compile(
    r"(?:^|[\s(])(?:e\.g|i\.e|etc|vs|cf|approx|resp|incl|no|nr|fig|ca|al|[A-Za-z])\.$", re.IGNORECASE
)


class SentenceBuffer:
    """Feed chunks, get whole units; `flush` gives what is left at the end."""

    def __init__(self) -> None:
        self._text = ""  # what has not been given out, without the lines of an open code block
        self._scanned = 0  # up to here no sentence ends
        self._open = (0, 0, 0)  # backticks, straight quotes, open curly quotes up to there
        self._held = ""
        self._held_sentences = 0
        self._block: list[str] = []
        self._fence = ""

    def feed(self, chunk: str) -> list[str]:
        """The units that this chunk completes, in order."""
        units: list[str] = []
        # Chunks of any size are taken in small steps, so that what is looked at again stays small.
        for start in range(0, len(chunk), MAX_UNIT):
            self._text += chunk[start : start + MAX_UNIT]
            units.extend(self._take(final=False))
        return units

    def flush(self) -> list[str]:
        """What is left, whole or not; the buffer is empty afterwards."""
        units = list(self._take(final=True))
        rest = "".join(self._block) + self._held + self._text
        self._block, self._fence, self._held, self._held_sentences, self._text, self._scanned = [], "", "", 0, "", 0
        self._open = (0, 0, 0)
        return [*units, rest] if rest else units

    def _take(self, *, final: bool) -> Iterator[str]:
        while self._text:
            before = len(self._text), self._scanned
            unit = self._block_line() if self._fence else self._prose(final)
            if unit:
                yield unit
            if not unit and (len(self._text), self._scanned) == before:
                return

    def _block_line(self) -> str:
        """Takes one line of an open code block; the whole block when the line closes it."""
        line, newline, rest = self._text.partition("\n")
        if not newline:
            return ""
        self._text = rest
        self._block.append(line + newline)
        bare = line.strip()
        if bare.startswith(self._fence) and not bare.strip(self._fence[0]):
            block, self._block, self._fence = "".join(self._block), [], ""
            return block
        return ""

    def _prose(self, final: bool) -> str:
        """Takes one unit of prose off the text, or opens a code block, or nothing when more has to come."""
        opened = self._opens_block(final)
        if opened is None:
            return ""
        if opened:
            return self._release("") if self._held else ""
        end, paragraph_ends = self._find_end(final)
        if end == 0:
            return ""
        sentence, self._text, self._scanned = self._text[:end], self._text[end:], 0
        self._open = (0, 0, 0)
        return self._release(sentence, hold=not paragraph_ends)

    def _opens_block(self, final: bool) -> bool | None:
        """Whether a code block begins here (and is opened); None while that cannot be told."""
        if self._scanned:
            return False
        line, newline, rest = self._text.partition("\n")
        if not newline and not final and len(line.lstrip()) < DECIDING:
            return None
        fence = _FENCE.match(line)
        if fence is None:
            return False
        if not newline:
            return None
        if not self._held:
            self._fence, self._text = fence[1], rest
            self._block.append(line + newline)
        return True

    def _release(self, sentence: str, *, hold: bool = False) -> str:
        unit = self._held + sentence
        self._held_sentences += 1
        waits = hold and self._held_sentences < MAX_HELD_SENTENCES and len(unit) < MAX_HELD
        if waits and not MARK.search(unit) and needs_mark(unit):
            self._held = unit
            return ""
        self._held, self._held_sentences = "", 0
        return unit

    def _find_end(self, final: bool) -> tuple[int, bool]:
        """(where the first unit of the text ends, whether its line ends there too); (0, False): not yet known."""
        text = self._text
        while True:
            newline = text.find("\n", self._scanned)
            end = self._sentence_end(self._scanned, len(text) if newline < 0 else newline + 1, final)
            if end is None:
                return 0, False
            if end:
                return end, text[end - 1] == "\n"
            if newline < 0:
                break
            ends = self._line_ends_unit(newline, final)
            if ends is None:
                return 0, False
            if ends:
                return newline + 1, True
            self._scanned = newline + 1
            self._open = (0, 0, 0)  # an unclosed quote does not run on over lines
        if len(text) > MAX_UNIT:
            return text.rfind(" ", MAX_UNIT // 2, MAX_UNIT) + 1 or MAX_UNIT, False
        return 0, False

    def _line_ends_unit(self, newline: int, final: bool) -> bool | None:
        """Whether the unit ends with this line; None while the next line's beginning is not known."""
        line = self._text[self._text.rfind("\n", 0, newline) + 1 : newline]
        if not line.strip() or _SINGLE_LINE.match(line):
            return True
        following, whole, _ = self._text[newline + 1 :].partition("\n")
        if not whole and len(following.lstrip()) < DECIDING and not final:
            return None
        return not following.strip() or bool(_BLOCK_START.match(following))

    def _sentence_end(self, start: int, stop: int, final: bool) -> int | None:
        """Where the first sentence that ends between `start` and `stop` ends, with the marks and spaces behind it;
        0 where none does, None while that is not known."""
        text = self._text
        line_start = text.rfind("\n", 0, start) + 1
        marker = _LIST_MARKER.match(text, line_start)
        first = max(start, marker.end()) if marker else start
        ticks, quotes, curly = self._open
        counted = start
        for found in _END.finditer(text, first, stop):
            before = self._scanned, self._open
            piece = text[counted : found.end()]
            ticks, quotes = ticks + piece.count("`"), quotes + piece.count('"')
            curly += piece.count("“") - piece.count("”")
            counted = found.end()
            self._scanned, self._open = counted, (ticks % 2, quotes % 2, max(curly, 0))
            if ticks % 2 or quotes % 2 or curly > 0:
                continue
            if _ABBREVIATION.search(text[max(0, found.start() - 8) : found.start() + 1]):
                continue
            end = self._past_marks(found.end(), final)
            if end is None:
                self._scanned, self._open = before
            return end
        return 0

    def _past_marks(self, end: int, final: bool) -> int | None:
        """The end of the marks and spaces that follow a full stop, and of the line; None while more could follow."""
        text = self._text
        while True:
            after = end
            while after < len(text) and text[after] in " \t":
                after += 1
            if after >= len(text):
                return after if final else None
            if text[after] == "\n":
                return after + 1
            mark = LOOKS_LIKE_MARK.match(text, after)
            if mark is None:
                unfinished = not final and MARK_OPENING.fullmatch(text, after, min(len(text), after + 60))
                return None if unfinished else after
            if mark.end() == len(text) and not final:
                return None
            end = mark.end()
