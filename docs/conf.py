"""The documentation as a site: `sphinx-build -W docs site`."""

import sys
from pathlib import Path

from onnxcomp.version import VERSION

sys.path.insert(0, str(Path(__file__).parent / "_ext"))

project = "onnxcomp"
release = VERSION
copyright = "the onnxcomp authors, Apache-2.0"
extensions = ["myst_parser", "sphinx.ext.autodoc", "sphinx_click", "from_the_code"]
exclude_patterns = ["_ext"]
html_theme = "furo"
html_title = "onnxcomp"
html_show_sphinx = False
myst_heading_anchors = 3
myst_url_schemes = ["http", "https", "mailto"]
autodoc_member_order = "bysource"
autodoc_typehints_format = "short"
default_role = "code"  # docstrings quote names as Markdown does
