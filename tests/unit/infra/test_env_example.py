import re

from market.settings import CHECKOUT, Settings

ASSIGNMENT = re.compile(r"^# ([A-Z_]+)=(.*)$", re.MULTILINE)


def assignments() -> dict[str, str]:
    return dict(ASSIGNMENT.findall((CHECKOUT / ".env.example").read_text()))


def test_the_example_names_exactly_the_known_settings() -> None:
    assert set(assignments()) == {str(field.validation_alias) for field in Settings.model_fields.values()}


def test_the_example_shows_the_true_defaults() -> None:
    shown = assignments()
    for name, field in Settings.model_fields.items():
        if field.default is not None and name != "home":
            assert shown[str(field.validation_alias)] == str(field.default)


def test_the_example_sets_nothing_by_itself() -> None:
    lines = (CHECKOUT / ".env.example").read_text().splitlines()
    assert all(not line or line.startswith("#") for line in lines)
