"""One module per package or kind of model: text after the colon of --with -> an Encoder."""
