"""What the reports' tests share."""

from tests.end_to_end.small import quick as quick
from tests.plugins.install import plug_in as plug_in
