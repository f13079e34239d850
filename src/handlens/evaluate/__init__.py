"""Judging: from the predictions table to figures that can be trusted."""
