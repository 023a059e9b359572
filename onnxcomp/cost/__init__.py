"""What a layer costs: multiply-adds, bytes, measured milliseconds."""
