"""Keep what libraries print about themselves away from the user.

Called before the libraries are imported: TensorFlow, XLA and gRPC read the environment
once, as their native code loads, and child processes inherit it. What fails still
raises an exception; a setting that the user made is kept.
"""

import logging
import os
import warnings

_ENVIRONMENT = {
    # TensorFlow and XLA print CPU features, a missing CUDA driver and double
    # registrations as errors (2); what is fatal (3) ends the process anyway.
    "TF_CPP_MIN_LOG_LEVEL": "3",
    "GRPC_VERBOSITY": "NONE",
    "GLOG_minloglevel": "3",
}
# Loggers that say at INFO what they try and what they lack.
_TALKATIVE = ("absl", "jax", "orbax", "tensorflow", "h5py")


def quiet_libraries() -> None:
    """Silence the messages of TensorFlow, XLA, gRPC, JAX, Orbax and Beam."""
    for name, value in _ENVIRONMENT.items():
        os.environ.setdefault(name, value)
    for logger in _TALKATIVE:
        logging.getLogger(logger).setLevel(logging.WARNING)
    # Orbax, whenever a checkpoint is read for another mesh than it was written from.
    warnings.filterwarnings("ignore", "Sharding info not provided", UserWarning)
    logging.getLogger().addFilter(_is_worth_showing)


def _is_worth_showing(record: logging.LogRecord) -> bool:
    """Drop Beam's warning about `resource`: for want of PyTorch it forgoes both."""
    return "Resource module is not available" not in record.getMessage()
