"""What `tfxai.plot` and the pages draw with."""
