"""Pure codecs between bytes and values. No I/O."""
