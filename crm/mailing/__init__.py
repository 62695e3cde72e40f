"""Segments, composing, compiling, campaigns, deliveries, sending."""
