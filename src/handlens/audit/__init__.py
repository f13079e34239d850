"""What a careful person checks before believing any number about a set of pictures."""
