"""Hostile input for every reader: damaged and absurd files, made from sound ones."""
