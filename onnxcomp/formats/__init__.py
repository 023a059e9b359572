"""Compressed weights and operators as stored in the file: encode, decode, function body."""
