"""Studies: many runs that differ in named ways."""
