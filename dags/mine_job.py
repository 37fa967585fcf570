"""What Airflow's Beam operator starts: `clipseed mine`, with nothing in `__main__`."""

import sys

from beam_pipeline.mine import run

if __name__ == "__main__":
    sys.exit(run())
