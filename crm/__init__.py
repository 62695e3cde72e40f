"""The house of the Red Voto Chilango: what the product does, without HTTP."""
