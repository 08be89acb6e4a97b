"""The same examples on every run, however busy the machine; a failing one is printed with how to repeat it."""

from hypothesis import settings

settings.register_profile("edgecache", deadline=None, derandomize=True, print_blob=True)
settings.load_profile("edgecache")
