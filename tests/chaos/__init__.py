"""Chaos: workers killed in the middle of sends, servers that fail, databases that restart; then every person is accounted for."""
