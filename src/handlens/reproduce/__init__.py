"""Reproducing the five papers that Handlens is built of: their studies on the user's pictures."""
