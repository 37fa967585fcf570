"""How the tests mine: as little work as their claim needs."""

# One thread, no gRPC between runner and worker: half the CPU of a small job. That other
# workers write the same bytes is tested in jobs/test_mine.py and test_mine_flags.py.
ONE_WORKER = ("--direct_running_mode=in_memory", "--direct_num_workers=1")
# What a user's job does on a machine of two cores.
TWO_WORKERS = ("--direct_running_mode=multi_threading", "--direct_num_workers=2")
