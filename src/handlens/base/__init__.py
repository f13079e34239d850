"""What every other package stands on: errors, specs, choices, files and progress."""
