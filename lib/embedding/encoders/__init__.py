"""One module per package or kind of model: turns the text after the colon of --with into an Encoder."""
