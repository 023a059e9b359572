"""What planning's tests share."""

from tests.end_to_end.small import quick as quick
