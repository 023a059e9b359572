"""What the network scripts share: a graph builder with seeded weights, residual and fire blocks, the command line."""
