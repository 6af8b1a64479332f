"""A LEAN data folder of a few rows, and the real one where it is at hand."""

import zipfile
from collections.abc import Sequence
from pathlib import Path

import pytest

from market.settings import CHECKOUT

REAL_LEAN = CHECKOUT.parent / "shared" / "data" / "lean"


def write_ticks(root: Path, symbol: str, day: str, kind: str, rows: Sequence[str]) -> Path:
    folder = root / "equity" / "usa" / "tick" / symbol
    folder.mkdir(parents=True, exist_ok=True)
    path = folder / f"{day}_{kind}.zip"
    with zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED) as archive:
        archive.writestr(f"{day}_{symbol}_{kind.title()}_Tick.csv", "\n".join(rows))
    return path


@pytest.fixture
def lean_folder(tmp_path: Path) -> Path:
    """IBM with quotes and SPY without, on two sessions around a weekend; last lines end without a line break, as the vendor's."""
    root = tmp_path / "lean"
    for day in ("20131004", "20131007"):
        write_ticks(
            root,
            "spy",
            day,
            "trade",
            [
                "14400464,1674100,100,P,20002000,0",
                "34200000,1674200,50,Q,80000001,0",
                "34200000,1674250,300,N,41,1",
                "71999999,1673000,100,P,20002020,0",
            ],
        )
        write_ticks(
            root,
            "ibm",
            day,
            "trade",
            ["14430270,1815200,283,P,20002020,0", "34200000,1818001,500,P,2000,0"],
        )
        write_ticks(
            root,
            "ibm",
            day,
            "quote",
            [
                "14400054,0,0,1836300,100,Q,1,0",
                "14400241,1800100,300,0,0,P,1,0",
                "34200000,1800200,300,1836300,100,P,1,0",
            ],
        )
    return root


@pytest.fixture
def real_lean() -> Path:
    if not REAL_LEAN.is_dir():
        pytest.skip("the real LEAN ticks are not at hand (../shared/data/lean)")
    return REAL_LEAN
