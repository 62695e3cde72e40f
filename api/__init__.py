"""JSON doors under /api/v1 for the other tools of the Institute."""
