"""Which nodes passes may touch."""

import re
from dataclasses import dataclass

from onnxcomp.convolution import label
from onnxcomp.errors import UsageError
from onnxcomp.model import Model
from onnxcomp.pass_api import Declined, Site


@dataclass(frozen=True)
class Selection:
    """Which nodes passes may touch, by regular expressions on their names (`re.search`)."""

    include: tuple[str, ...] = ()
    exclude: tuple[str, ...] = ()

    def validate(self, model: Model) -> None:
        """UsageError for a pattern that is not a regular expression or matches no node of `model`."""
        names = [label(node) for node in model.graph.nodes]
        for option, patterns in (("--include", self.include), ("--exclude", self.exclude)):
            for pattern in patterns:
                try:
                    found = any(re.search(pattern, name) for name in names)
                except re.error as error:
                    raise UsageError(f"{option} '{pattern}' is not a regular expression: {error}") from error
                if not found:
                    raise UsageError(f"{option} '{pattern}' matches no node; `onnxcomp inspect` lists the names")

    def refusal(self, site: Site) -> Declined | None:
        """Why `site` may not be touched, or None."""
        names = [label(node) for node in site.nodes]
        for pattern in self.exclude:
            if any(re.search(pattern, name) for name in names):
                return Declined(site.name, f"excluded by '{pattern}'")
        if self.include and not any(re.search(p, name) for p in self.include for name in names):
            return Declined(site.name, "not included")
        return None
