"""All figures. The functions take finished numbers and draw them."""
