"""What errors carry, and which builtin each also is."""

from __future__ import annotations

import pytest

from ucore import errors


@pytest.mark.parametrize("cls", [errors.UnstorableError, errors.WrongTypeError])
def test_a_refused_value_names_its_place(cls: type[errors.UnstorableError]) -> None:
    error = cls("a set cannot be stored", "m['k'][0]")
    assert str(error) == "m['k'][0]: a set cannot be stored"
    assert error.path == "m['k'][0]"
    assert str(cls("no")) == "no"


def test_an_unknown_number_says_how_to_register_it() -> None:
    error = errors.UnknownTypeError(123)
    assert error.type_id == 123
    assert "@ucore.primitive(123)" in str(error)


def test_an_unknown_version_says_what_to_update() -> None:
    error = errors.UpgradeNeededError(9)
    assert error.version == 9
    assert "update ucore" in str(error)


@pytest.mark.parametrize(
    ("cls", "builtin"),
    [
        (errors.UnstorableError, TypeError),
        (errors.WrongTypeError, TypeError),
        (errors.SkeletonError, TypeError),
        (errors.StaleHandleError, RuntimeError),
        (errors.TransactionError, RuntimeError),
        (errors.LocalDivergenceError, RuntimeError),
        (errors.InterruptedUpdateError, RuntimeError),
        (errors.MalformedUpdateError, ValueError),
        (errors.MalformedUpdateError, errors.CannotApplyError),
        (errors.UnknownTypeError, errors.CannotApplyError),
        (errors.UpgradeNeededError, errors.CannotApplyError),
    ],
)
def test_an_error_is_the_builtin_that_fits(cls: type, builtin: type) -> None:
    assert issubclass(cls, builtin)


def test_every_error_has_the_one_root() -> None:
    found = [v for v in vars(errors).values() if isinstance(v, type)]
    assert found
    assert all(issubclass(cls, errors.UCoreError) for cls in found)
