"""What is said of a file whose fields something else than commas is between, as spreadsheets write them in many countries."""

from collections.abc import Sequence
from typing import Final

_OTHERS: Final = {";": "semicolons", "\t": "tabs"}


def other_separator(names: Sequence[str]) -> str | None:
    """Return what is said of a header that is one field only for want of commas, after the name of its file; else ``None``.

    Parameters
    ----------
    names
        The fields of the header, as commas part them.
    """
    found = next((says for sign, says in _OTHERS.items() if len(names) == 1 and sign in names[0]), None)
    if found is None:
        return None
    return f"is separated by {found}: write commas between the fields, and points, not commas, in the numbers"
