"""The gate: the only process with keys; it sends every order and reports what became of it."""
