"""Formats that published collections of pictures come in: each is read into Samples by a file of its own."""
