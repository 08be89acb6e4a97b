"""What can be typed: a file for each command or group of them; `cli.py` puts them together."""
