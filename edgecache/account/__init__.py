"""Who calls: callers, their scopes, and the tokens we give out."""
