"""A layer as several smaller ones in standard operators, from the factors of its weight."""
