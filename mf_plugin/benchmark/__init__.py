"""The benchmark: what synthetic data is worth, from generation to tables, each step cached."""
