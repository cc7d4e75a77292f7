"""Shared memory: segments, books, broadcast rings, counters and order queues. Imports nothing else of hive."""
