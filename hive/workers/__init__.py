"""Worker processes: many strategies on one event loop, each in a context of its own."""
