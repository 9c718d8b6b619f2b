"""Settings of every option: from ``hetctl.toml`` files, beside the environment."""
