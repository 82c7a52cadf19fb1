"""Reading pickles from the network without running code that they name."""

import io
import pickle
from typing import Any

from offcourse.archive.paths import OTHER_PACKAGES
from offcourse.errors import OffcourseError

# Names that a pickled array or scalar of numpy needs, under the module names of numpy 1 and 2.
_ALLOWED = {
    (module, name)
    for modules, name in (
        (("numpy",), "ndarray"),
        (("numpy",), "dtype"),
        (("numpy.core.multiarray", "numpy._core.multiarray"), "_reconstruct"),
        (("numpy.core.multiarray", "numpy._core.multiarray"), "scalar"),
    )
    for module in modules
}


class _ArraysOnly(pickle.Unpickler):
    def __init__(self, content: bytes, name: str):
        super().__init__(io.BytesIO(content))
        self._name = name

    def find_class(self, module: str, name: str) -> Any:
        if (module, name) not in _ALLOWED:
            raise OffcourseError(
                f"{self._name} is a pickle that asks for {module}.{name}. Only numpy arrays and numbers are "
                f"read, since anything else could run code. {OTHER_PACKAGES}"
            )
        return super().find_class(module.replace("numpy.core", "numpy._core"), name)


def load_arrays(content: bytes, name: str) -> Any:
    """The plain Python and numpy values of a pickle. name: of the file, for messages.

    Raises `OffcourseError` for a pickle that names anything else, and for content that is no pickle.
    """
    try:
        return _ArraysOnly(content, name).load()
    except (pickle.UnpicklingError, EOFError, ValueError, TypeError, AttributeError, IndexError, KeyError) as error:
        raise OffcourseError(f"{name} cannot be read as a pickle ({error}). {OTHER_PACKAGES}") from error
