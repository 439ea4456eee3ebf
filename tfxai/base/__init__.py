"""What everything else stands on: errors, checks of options, progress, files."""
