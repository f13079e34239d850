"""Teaches the small backbone of the package from pictures that formulas draw; no photograph is used.

make nano                                        # as it was made, hours on two cores
PYTHONPATH=tools python -m pretrain_nano --help  # with other networks, teachings, lengths
"""
