"""Where a network looks: maps of what spoke for a class, and whether these maps deserve belief."""
