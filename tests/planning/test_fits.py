"""Fits of one run are those of the next, as long as the choices are the same."""

from onnxcomp.fits import Fits


def run(fits: Fits[str], choices: str) -> tuple[str, str]:
    """What the fits are, and which of them were made: each says all choices up to its own."""
    made: list[str] = []

    def fit(upto: str) -> str:
        made.append(upto[-1])
        return upto

    fits.begin()
    found = [fits.of(choice, lambda at=at: fit(choices[: at + 1])) for at, choice in enumerate(choices)]
    assert found == [choices[: at + 1] for at in range(len(choices))]
    return found[-1], "".join(made)


def test_only_what_is_behind_another_choice_is_fitted_again() -> None:
    fits: Fits[str] = Fits()
    assert run(fits, "abcd") == ("abcd", "abcd")
    assert run(fits, "abcd") == ("abcd", "")
    assert run(fits, "abxd") == ("abxd", "xd")
    assert run(fits, "abxde") == ("abxde", "e")
    assert run(fits, "ab") == ("ab", "")
    assert run(fits, "abx") == ("abx", "x"), "the last run alone is remembered"
    assert run(fits, "bax") == ("bax", "bax"), "the order counts"
