"""The command line `tfxai`."""
