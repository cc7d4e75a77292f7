"""The market data process: reads every venue once and writes books and trades into shared memory."""
