"""Pictures: reading, checking, grouping, splitting, and how the network sees them."""
