"""A simulated exchange on loopback that speaks the Binance spot protocol, with a real matching engine.

It is an exchange and knows nothing of Hive: it may be driven by any client of that protocol. `python -m hive.sim
--help` lists its options, `hive.sim.faults` its faults and `hive.sim.control` the endpoints that steer it.
"""
