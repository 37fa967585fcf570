"""Running on this machine."""

import os
import time
from collections.abc import Iterator

import apache_beam as beam
import pytest
from apache_beam.options.pipeline_options import PipelineOptions
from apache_beam.testing.util import assert_that, equal_to

from beam_pipeline.runners.local import local_defaults, send_whole_elements_only


def test_all_cores_are_the_default() -> None:
    cores = len(os.sched_getaffinity(0))
    assert local_defaults(["--job_name=x"]) == [
        "--job_name=x",
        "--runner=FnApiRunner",
        "--direct_running_mode=multi_threading",
        f"--direct_num_workers={cores}",
    ]


@pytest.mark.parametrize(
    ("given", "added"),
    [
        (["--runner=FlinkRunner"], []),
        (["--runner", "DirectRunner"], []),
        (["--runner=FnApiRunner"], ["--direct_running_mode=multi_threading"]),
        (["--direct_num_workers=1"], ["--runner=FnApiRunner"]),
    ],
)
def test_what_is_given_stays(given: list[str], added: list[str]) -> None:
    flags = local_defaults(given)
    assert flags[: len(given)] == given and set(added) <= set(flags)
    assert len({flag.split("=")[0] for flag in flags}) == len(flags)


class _SlowCoder(beam.coders.Coder):
    """Lets other threads in while an element is half written, as Python may."""

    def get_impl(self) -> beam.coders.coder_impl.StreamCoderImpl:
        return _SlowImpl()

    def is_deterministic(self) -> bool:
        return True


class _SlowImpl(beam.coders.coder_impl.StreamCoderImpl):
    def encode_to_stream(self, value, out, nested) -> None:  # type: ignore[no-untyped-def]
        out.write_var_int64(len(value.text))
        time.sleep(1.5)
        out.write(value.text)

    def decode_from_stream(self, stream, nested):  # type: ignore[no-untyped-def]
        return _Slow(stream.read(stream.read_var_int64()))


class _Slow:
    def __init__(self, text: bytes) -> None:
        self.text = text


def _make(_: None) -> Iterator[tuple[int, _Slow]]:
    for number in range(2):
        yield number, _Slow(b"element %d" % number)


def test_threads_send_no_half_element() -> None:
    send_whole_elements_only()
    beam.coders.registry.register_coder(_Slow, _SlowCoder)
    with beam.Pipeline(options=PipelineOptions(local_defaults([]))) as pipeline:
        grouped = (
            pipeline
            | beam.Create([None])
            | beam.FlatMap(_make).with_output_types(tuple[int, _Slow])
            | beam.GroupByKey()
            | beam.MapTuple(lambda number, slow: (number, [s.text for s in slow]))
        )
        assert_that(grouped, equal_to([(0, [b"element 0"]), (1, [b"element 1"])]))
