"""The test files that take longest, so that they are begun first.

xdist hands out whole files. In its own order, by number of tests, the long jobs and
trainings come last, and one worker ends a minute after the other.
"""

LONGEST = tuple(
    f"tests/{name}.py"
    for name in (
        # Parts for CI alone take 100 to 300 s.
        "beam_pipeline/runners/test_flink_cluster",
        "beam_pipeline/jobs/test_mine",
        "dags/test_dag",
        "beam_pipeline/jobs/test_four_commands",
        "test_readme",
        # 20 to 80 s.
        "beam_pipeline/jobs/test_stderr",
        "models/training/test_loop",
        "beam_pipeline/jobs/test_mine_flags",
        "beam_pipeline/jobs/test_bad_input",
        "beam_pipeline/jobs/test_buckets",
        "transforms/media/test_frame_sampler",
        "beam_pipeline/jobs/test_mine_index",
        "beam_pipeline/jobs/test_resume",
        "beam_pipeline/jobs/test_merge",
        "models/training/test_step",
    )
)


def order(node_id: str) -> int:
    """Return the rank of a test, for a stable sort."""
    file = node_id.partition("::")[0]
    return LONGEST.index(file) if file in LONGEST else len(LONGEST)
