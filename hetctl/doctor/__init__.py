"""Is this machine ready? One file per group of checks, each check with its remedy."""
