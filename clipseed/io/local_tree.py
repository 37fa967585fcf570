"""A local path for a folder of files that belong together, such as a model.

with local_tree("gs://bucket/models/mobilenet") as path:
    ...
"""

import contextlib
import os
from collections.abc import Iterator

from clipseed.errors import Reject
from clipseed.io.bucket_copy import copy_object
from clipseed.io.gcs import is_gs
from clipseed.io.listing import list_files
from clipseed.io.scratch import refusing_when_full, scratch_folder


@contextlib.contextmanager
def local_tree(uri: str) -> Iterator[str]:
    """Gives the folder itself, or a scratch copy of it deleted at the end.

    Example:
        with local_tree("gs://bucket/models/mobilenet") as path:
            model = load(path)

    Raises:
        Reject: `not_found` when nothing is there, `unreadable`, `scratch_full`.
    """
    if not is_gs(uri):
        yield uri
        return
    root = uri.rstrip("/") + "/"
    with scratch_folder() as folder:
        names = [name.removeprefix(root) for name in list_files(root)]
        for name in names:
            if ".." in name.split("/"):
                raise Reject("unreadable", f"{root}{name}: take '..' out of the name")
            path = os.path.join(folder, name)
            os.makedirs(os.path.dirname(path), exist_ok=True)
            with refusing_when_full(root + name):
                copy_object(root + name, path)
        yield folder
