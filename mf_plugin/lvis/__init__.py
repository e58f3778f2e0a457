"""LVIS-format data without a detection framework: reading, writing, merging; mini-LVIS."""
