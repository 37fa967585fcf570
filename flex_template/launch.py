"""What a Dataflow flex template's launcher runs: `FLEX_TEMPLATE_PYTHON_PY_FILE`."""

import sys

from beam_pipeline.flex_template import launch

if __name__ == "__main__":
    sys.exit(launch(sys.argv[1:]))
