"""``report.html``: one file with everything in it, for people."""
