"""Data for training: the synthetic dataset, loaded or generated once, and how often it is seen."""
