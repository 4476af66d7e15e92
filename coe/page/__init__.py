"""Pages to look at: HTML and SVG without scripts, other files or a network, light or dark."""
