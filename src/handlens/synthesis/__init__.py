"""Synthetic pictures of a rare class, and whether they are worth anything."""
