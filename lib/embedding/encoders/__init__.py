"""One module per package or kind of model: text behind the colon of --with -> an Encoder."""
