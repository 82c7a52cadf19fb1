"""Turning errors of the model hub's client into one message that says what to do."""

import contextlib
from collections.abc import Iterator

from offcourse.data.endpoint import clean_log, require_endpoint, without_password
from offcourse.data.rows import Model
from offcourse.errors import OffcourseError
from offcourse.files import refusal


class RefusedError(OffcourseError):
    """The hub answered and refused this model."""


@contextlib.contextmanager
def asking(model: Model, where: str, unreachable: str) -> Iterator[None]:
    """Turn the hub client's errors inside the block into one `OffcourseError`.

    model: its row; a model that is not in the table has no name. where: how messages name the model. unreachable: the
    message when the hub gives no usable answer; its `{reason}` is replaced by the client's message. Raises
    `RefusedError` for a model that is gated or that the hub does not have, and `OffcourseError` with `unreachable`
    otherwise, and for an HF_ENDPOINT that is no address. Errors of this machine's disk pass unchanged. No message holds
    what HF_ENDPOINT says before its @. The client is imported inside the block, since its import fails for such an
    HF_ENDPOINT.
    """
    require_endpoint()
    from huggingface_hub import get_token
    from huggingface_hub.errors import GatedRepoError, HTTPError, RepositoryNotFoundError, RevisionNotFoundError

    clean_log()
    page, token = f"https://huggingface.co/{model.repo}", "HF_TOKEN, or store it with `hf auth login`"
    licence = f"licence ({model.licence})" if model.licence else "licence"
    try:
        yield
    except GatedRepoError as error:
        has = "this machine's token was not accepted" if get_token() else "no token is set here"
        raise RefusedError(
            f"{where} is gated and {has}: accept its {licence} at {page}, then put a token of that "
            f"account into {token}."
        ) from error
    except RevisionNotFoundError as error:
        raise RefusedError(
            f"{where} has no branch, tag or commit {model.revision!r}: {page}/tree/main lists them. "
            + (
                "Correct `revision` in resources/models.tsv, or, where its commit is from resources/models.lock.tsv, "
                "delete the row there and run `offcourse pin --configfile FILE`, where FILE is the study's."
                if model.name
                else "Name one of them (--revision)."
            )
        ) from error
    except RepositoryNotFoundError as error:
        raise RefusedError(
            f"{where} was not found on the hub, or needs a token: check "
            f"{'`repo` in resources/models.tsv' if model.name else 'its spelling'}, or put a token into {token}."
        ) from error
    # Errors of the client's HTTP library, and of its storage library, which raises RuntimeError.
    except (HTTPError, OSError, RuntimeError) as error:
        if refusal(error):
            raise
        reason = without_password((str(error) or "no reason given").splitlines()[0])
        # Not `from error`: a traceback would show the client's own message, with the address in it.
        raise OffcourseError(unreachable.format(reason=f"{type(error).__name__}: {reason}")) from None


def require_answer() -> None:
    """Ask the hub's address for its head, once more if nobody answers, and raise the client's error then.

    Any answer will do. The client asks for lists and files six times, which takes half a minute where connections are
    refused, and longer where a firewall drops them. Called inside `asking`.
    """
    from huggingface_hub import HfApi
    from huggingface_hub.utils import http_backoff

    http_backoff("HEAD", HfApi().endpoint, max_retries=1, retry_on_status_codes=(), timeout=10)
