"""XLA flags with which a tiny model compiles in a tenth of the time.

Nearly all the time of a training test is the compiler's. Without optimizations, and
with the emitters that do not go through MLIR, a step of the tiny dual encoder takes 1.1
CPU seconds instead of 11. The results differ by rounding; in one process and the next
they are the same bits, as with a user's flags.
"""

import os

QUICK_COMPILER = (
    "--xla_backend_optimization_level=0 --xla_llvm_disable_expensive_passes=true"
    " --xla_cpu_use_fusion_emitters=false"
)


def as_users_compile() -> dict[str, str]:
    """Return the environment without these flags, for a command run as a user would."""
    return {k: v for k, v in os.environ.items() if v != QUICK_COMPILER}
