"""SegGen (arXiv 2311.03355): captions and masks -> masks and images."""
