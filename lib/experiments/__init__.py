"""Many runs with one question: the label study."""
