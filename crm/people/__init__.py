"""Contacts, places, names, organizations, leaders, consent, imports."""
