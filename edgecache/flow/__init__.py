"""The story of a request: looked up, else filled by the tiers, and admitted."""
