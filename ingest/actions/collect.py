"""Asking a source for corporate actions, and what the lake lacks of its answers.

What belongs here: asking, patience and giving up. What does not: the way into the lake, which is :mod:`ingest.actions.door`.
"""

import threading
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from datetime import date
from typing import Final

from ingest.actions.missing import Missing, missing_of
from ingest.actions.source import NAMELESS, ActionSource, Key, Listed, Listing, Range
from ingest.history.fetch import MOST_FAILURES, asked
from ingest.history.source import Problem, SourceBusyError, SourceError, StoppedError, UnreadableAnswerError
from market.records import CorporateAction
from market.sessions import FIRST_SESSION, all_sessions

WHOLE: Final = Range(FIRST_SESSION, all_sessions()[-1].session_date)
"""All of a symbol's past, and what is announced."""
NO_ANSWER: Final = "no_answer"


@dataclass(frozen=True, slots=True)
class Collected:
    """What a source answered, beside what the lake has.

    Attributes
    ----------
    missing
        What the lake lacks.
    problems
        What was wrong, by symbol: of the answer, or that there was none.
    unknown
        The symbols that the source does not know.
    answered
        The symbols that it answered for, the unknown ones included.
    refusal
        Why it was not asked for the others, if it refused every further request.
    is_stopped
        Whether the others were not asked for because somebody asked to stop.
    """

    missing: Missing
    problems: Sequence[Problem]
    unknown: frozenset[str]
    answered: frozenset[str]
    refusal: SourceError | None = None
    is_stopped: bool = False


def collect(
    source: ActionSource,
    symbols: Sequence[str],
    within: Range,
    stored: Mapping[Key, Sequence[CorporateAction]],
    *,
    today: date,
    pace: Callable[[], None],
    stop: threading.Event,
    on_answer: Callable[[int], None] = lambda _symbols: None,
) -> Collected:
    """Ask for some symbols, as many at once as the source takes; a source that is busy is asked again, one that is down is not.

    What was answered before a stop or a refusal is returned. ``on_answer`` gets the number of symbols that are done.

    Raises
    ------
    SourceError
        If the source refuses the first request.
    """
    listed: list[Listed] = []
    problems: list[Problem] = []
    unknown: set[str] = set()
    answered: set[str] = set()
    in_doubt: set[str] = set()
    refusal: SourceError | None = None
    is_stopped = False
    failures = 0
    size = source.symbols_per_ask
    for at in range(0, len(symbols), size):
        group = symbols[at : at + size]
        try:
            answer = _ask(source, group, within, pace, stop) if failures < MOST_FAILURES else _down(source, group)
        except StoppedError:
            is_stopped = True
            break
        except SourceError as error:
            if not answered:
                raise
            refusal = error
            break
        left = {
            problem.symbol for problem in answer.problems if problem.code in {NO_ANSWER, UnreadableAnswerError.code}
        }
        failures = failures + 1 if left else 0
        listed += answer.actions
        problems += answer.problems
        unknown |= answer.unknown
        answered |= set(group) - left
        wrong = {problem.symbol for problem in answer.problems}
        # What has no symbol may be just what is not listed of one of them.
        in_doubt |= {*wrong, *group} if NAMELESS in wrong else wrong
        on_answer(at + len(group))
    missing = missing_of(listed, stored, asked=answered - unknown - in_doubt, within=within, today=today)
    return Collected(
        missing, (*problems, *missing.problems), frozenset(unknown), frozenset(answered), refusal, is_stopped
    )


def _ask(
    source: ActionSource, symbols: Sequence[str], within: Range, pace: Callable[[], None], stop: threading.Event
) -> Listing:
    what = f"{','.join(symbols)} actions {within.first} to {within.last}"
    try:
        return asked(source.name, what, lambda: source.fetch(symbols, within, pace), stop)
    except UnreadableAnswerError as error:
        return Listing((), [Problem(symbol, error.code, str(error)) for symbol in symbols])
    except SourceBusyError as error:
        return _unanswered(symbols, str(error))


def _down(source: ActionSource, symbols: Sequence[str]) -> Listing:
    return _unanswered(
        symbols, f"{source.name} did not answer {MOST_FAILURES} times in a row and was not asked any more"
    )


def _unanswered(symbols: Sequence[str], reason: str) -> Listing:
    return Listing((), [Problem(symbol, NO_ANSWER, reason) for symbol in symbols])
