"""Performance measurements: always ratios to a named peer, measured side by side in one run."""
