"""The business questions of ``docs/questions``: plain SQL to the marts, the question itself as the first comment."""

import re
from dataclasses import dataclass
from itertools import takewhile
from pathlib import Path
from typing import Final

from market.settings import CHECKOUT

QUESTIONS_FOLDER: Final = CHECKOUT / "docs" / "questions"

_MART: Final = re.compile(r"\bmarts\.(\w+)")


@dataclass(frozen=True, slots=True)
class Question:
    """One question.

    Attributes
    ----------
    path
        Its file, ``NN_name.sql``.
    asks
        The question in words.
    sql
        One statement without a semicolon.
    """

    path: Path
    asks: str
    sql: str

    @property
    def name(self) -> str:
        """The file's name without its ending."""
        return self.path.stem

    @property
    def marts(self) -> frozenset[str]:
        """The relations and functions of the schema ``marts`` that it reads."""
        return frozenset(_MART.findall(self.sql))


def read_questions(folder: Path = QUESTIONS_FOLDER) -> list[Question]:
    """Return the questions in order.

    Raises
    ------
    ValueError
        If a file does not begin with its question as a comment.
    """
    return [_read(path) for path in sorted(folder.glob("*.sql"))]


def _read(path: Path) -> Question:
    lines = path.read_text().splitlines()
    comments = [line.removeprefix("-- ") for line in takewhile(lambda line: line.startswith("-- "), lines)]
    if not comments or not comments[-1].endswith("?"):
        msg = f"{path} does not begin with its question as a comment."
        raise ValueError(msg)
    sql = "\n".join(lines[len(comments) :]).strip().removesuffix(";")
    return Question(path, " ".join(comments), sql)
