"""What synthetic data is worth: LVIS AP by frequency group, runs compared, one report."""
