"""Reading and writing of images, networks and tables."""
