"""What the model hub's client raises, as one message that says what to do."""

import contextlib
from collections.abc import Iterator

from offcourse.data.rows import Model
from offcourse.errors import OffcourseError
from offcourse.files import refusal


class RefusedError(OffcourseError):
    """The hub answers, but not with this model."""


@contextlib.contextmanager
def asking(model: Model, where: str, unreachable: str) -> Iterator[None]:
    """Ask the hub for something of a model.

    where: the model as messages name it. unreachable: the message for a hub that gives no usable answer; `{reason}`
    stands for the client's own. Raises `RefusedError` for a model that is gated, or that it does not have, and
    `OffcourseError` with that message. What this machine's disk refuses is raised as it is.
    """
    from huggingface_hub import get_token
    from huggingface_hub.errors import GatedRepoError, HTTPError, RepositoryNotFoundError, RevisionNotFoundError

    page, token = f"https://huggingface.co/{model.repo}", "HF_TOKEN, or store it with `hf auth login`"
    try:
        yield
    except GatedRepoError as error:
        has = "this machine's token was not accepted" if get_token() else "no token is set here"
        raise RefusedError(
            f"{where} is gated and {has}: accept its licence ({model.licence}) at {page}, then put a token of that "
            f"account into {token}."
        ) from error
    except RevisionNotFoundError as error:
        raise RefusedError(
            f"{where} has no branch, tag or commit {model.revision!r}: {page}/tree/main lists them. Correct `revision` "
            "in resources/models.tsv."
        ) from error
    except RepositoryNotFoundError as error:
        raise RefusedError(
            f"{where} was not found on the hub, or needs a token: check `repo` in resources/models.tsv, or put a token "
            f"into {token}."
        ) from error
    # The client reports what its own HTTP library and the one of its storage (which raises RuntimeError) stumble over.
    except (HTTPError, OSError, RuntimeError) as error:
        if refusal(error):
            raise
        reason = (str(error) or "no reason given").splitlines()[0]
        raise OffcourseError(unreachable.format(reason=f"{type(error).__name__}: {reason}")) from error
