"""HTML doors: staff pages in Spanish and the public pages."""
