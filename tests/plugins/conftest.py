"""What the plug-ins' tests share."""

from tests.plugins.install import plug_in as plug_in
