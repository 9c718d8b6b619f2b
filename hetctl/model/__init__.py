"""Model folders: what a model weighs (from its ``config.json``), and the demo model."""
