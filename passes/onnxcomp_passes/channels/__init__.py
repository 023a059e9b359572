"""Channels of a whole network: which are constant, which are read, and the network without the others."""
