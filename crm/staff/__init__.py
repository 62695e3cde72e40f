"""Accounts, roles and rights, sign-in, API clients."""
