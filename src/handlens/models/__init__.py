"""Networks: their weights, their trunks, and the heads that go on top."""
