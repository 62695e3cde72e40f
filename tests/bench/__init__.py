"""Benches: each bench_*.py has rows() -> list of rows, ours beside a peer in one run."""
