"""Canaries on a running cluster: pushed, replaced, purged and read again, to see whether the promise of purging is
kept. What `edgecache verify` does; it talks HTTP and knows nothing of the nodes' insides.
"""
