"""Every exception the package raises.

An error a user can cause is one line that says what, where and what to do; `exit_code` is what the command line
returns for it. Anything that is not an `OnnxcompError` is a bug of ours.
"""


class OnnxcompError(Exception):
    """Base class. Exit code 1: an internal error."""

    exit_code = 1


class UsageError(OnnxcompError):
    """A wrong option, pipeline text or file. Exit code 2."""

    exit_code = 2


class ModelError(UsageError):
    """The input is not a model we can read, or the output cannot be written."""


class DataError(UsageError):
    """Calibration or comparison data does not fit the model, or cannot be read."""


class BudgetMissed(OnnxcompError):  # noqa: N818 - an outcome, not a fault
    """The budget was not met; the best so far is saved. Exit code 3."""

    exit_code = 3


class VerificationFailed(OnnxcompError):  # noqa: N818 - an outcome, not a fault
    """The rewritten model is not equal to its input. Exit code 4: nothing was written."""

    exit_code = 4


class NothingGained(OnnxcompError):  # noqa: N818 - an outcome, not a fault
    """Nothing was worth doing and a gain was required. Exit code 5."""

    exit_code = 5


class PassError(OnnxcompError):
    """A pass broke its promise: names the pass, the node and the passes that ran before it."""
