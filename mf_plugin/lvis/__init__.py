"""LVIS-format data without a detection framework: reading, writing, merging, and the bundled mini-LVIS."""
