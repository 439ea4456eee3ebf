"""Images, networks and tables, read and written."""
