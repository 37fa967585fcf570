"""What is wrong with a record that TensorFlow could not use, in words."""

import atexit
import itertools
from collections.abc import Callable, Iterator
from typing import Any

from clipseed.errors import InputError
from clipseed.run.clip_record import ClipRecord, decode
from clipseed.run.clips import RunClips


def guarded(dataset: Any, explain: Callable[[int], None]) -> Iterator[dict[str, Any]]:
    """Yield the batches of a dataset; say by our own reader why one cannot be read.

    Args:
        dataset: a `tf.data.Dataset` of dicts.
        explain: calls `inspect` on the records of a batch, given its number from 0.

    Raises:
        InputError: `bad_record`.
    """
    import tensorflow as tf

    # Still open when the interpreter ends, as a traceback may leave it, the iterator
    # would wait for threads that are gone.
    iterators = [dataset.as_numpy_iterator()]
    atexit.register(iterators.clear)
    problem = None
    try:
        for number in itertools.count():
            try:
                arrays = next(iterators[0])
            except StopIteration:
                return
            except tf.errors.OpError as error:
                problem = error.message  # All else of it holds the iterator too.
            if problem is not None:
                explain(number)
                raise InputError("bad_record", f"a record cannot be read: {problem}")
            yield dict(arrays)
    finally:
        iterators.clear()
        atexit.unregister(iterators.clear)


def inspect(run: RunClips, number: int, captioned: bool = True) -> None:
    """Return what is wrong with a record; nothing if it is good.

    Args:
        run: that it is of.
        number: which.
        captioned: whether it needs a caption.

    Raises:
        InputError: `bad_record`, naming the record.
    """
    try:
        record = decode(run.read(number))
        if captioned and not record.captions:
            raise InputError("bad_record", "It has no caption.")
        if any(not caption.text.strip() for caption in record.captions):
            raise InputError("bad_record", "One of its captions is empty.")
        if not record.frames and not len(record.log_mel):
            raise InputError("bad_record", "It has neither a frame nor sound.")
        _check_frames(record)
    except InputError as error:
        raise InputError(
            "bad_record", f"{run.name(number)}: {error.message} Mine the run again."
        ) from error


def _check_frames(record: ClipRecord) -> None:
    import tensorflow as tf

    for place, jpeg in enumerate(record.frames):
        try:
            tf.io.decode_jpeg(jpeg, channels=3)
        except tf.errors.InvalidArgumentError:
            raise InputError(
                "bad_record", f"Its frame {place} is not a JPEG that can be decoded."
            ) from None
