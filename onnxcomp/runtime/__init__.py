"""RUN: the extension library and sessions that use it."""
