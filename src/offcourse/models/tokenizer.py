"""The tokenizer of a prepared folder, without `transformers` or torch, so that making prompts starts in a second.

`models.checks` compares this tokenizer with the one that `transformers` loads from the folder, for every model.
"""

import json
from pathlib import Path

from tokenizers import Tokenizer as FastTokenizer

from offcourse.errors import OffcourseError
from offcourse.models.folder import UNDAMAGED, sizes


class Tokenizer:
    """Turns text into token ids, with the special tokens that the tokenizer adds by itself (a BOS, for some models).

    context, vocabulary: the most tokens that the model reads, and the rows of its embedding, from config.json.
    """

    def __init__(self, folder: Path, where: str = ""):
        """Read `tokenizer.json`; where: how messages name the folder.

        Raises `OffcourseError` when it is not there or cannot be read.
        """
        path = Path(folder) / "tokenizer.json"
        if not path.is_file():
            raise OffcourseError(
                f"{where or folder} has no tokenizer.json. Open the model with AutoTokenizer in transformers and "
                "save_pretrained it into a folder, then use that folder as a model of source `local`."
            )
        try:
            self._tokenizer = FastTokenizer.from_file(str(path))
        # The library raises a plain Exception for every fault of the file.
        except Exception as error:
            raise OffcourseError(
                f"{where or folder}: tokenizer.json is not a tokenizer ({str(error).splitlines()[0]}); it may be cut. "
                f"{UNDAMAGED}"
            ) from error
        self.name = Path(folder).name
        stated = sizes(Path(folder), where or str(folder), UNDAMAGED)
        self.context, self.vocabulary = stated["context"], stated["vocabulary"]
        self._config = Path(folder) / "tokenizer_config.json"
        self._tokenizer.no_padding()
        self._tokenizer.no_truncation()

    def encode(self, text: str, name: str = "") -> list[int]:
        """Token ids of `text`; name: how messages name the text.

        Raises `OffcourseError` for a text longer than the model's context, and for a token that has no embedding.
        Some tokenizers know more tokens than their model, which is harmless as long as no text uses them.
        """
        ids = self._tokenizer.encode(text).ids
        name = name or f"the text {text[:40]!r}"
        if self.context is not None and len(ids) > self.context:
            raise OffcourseError(
                f"{name}: {len(ids)} tokens, but {self.name} reads {self.context}. Use fewer shots or "
                "shorter texts, or leave this task or question set, or the model, out of the study."
            )
        return self._known(ids, name)

    def encode_bare(self, text: str) -> list[int]:
        """Token ids of `text` without added tokens. Raises `OffcourseError` for a token that has no embedding."""
        return self._known(self._tokenizer.encode(text, add_special_tokens=False).ids, repr(text))

    def _known(self, ids: list[int], name: str) -> list[int]:
        if self.vocabulary is not None and max(ids, default=0) >= self.vocabulary:
            raise OffcourseError(
                f"{name}: the tokenizer of {self.name} gives the id {max(ids)}, but the model's vocabulary has "
                f"{self.vocabulary} rows. The tokenizer is that of another model, or has tokens that were added "
                "without an embedding. Use the model's own tokenizer, or leave out what uses this token."
            )
        return ids

    def decode(self, ids: list[int]) -> str:
        """Text of token ids, special tokens included."""
        return self._tokenizer.decode(ids, skip_special_tokens=False)

    @property
    def adds_bos(self) -> bool:
        """Whether the tokenizer puts a token in front of every text, judged by what it does, not by a setting."""
        with_special, without = (self._tokenizer.encode("a", add_special_tokens=add).ids for add in (True, False))
        return with_special[:1] != without[:1]

    @property
    def unknown(self) -> int | None:
        """Id of the unknown token, which stands for text that the vocabulary lacks; None if the tokenizer has none."""
        config = json.loads(self._config.read_text(encoding="utf-8")) if self._config.exists() else {}
        token = config.get("unk_token")
        token = token["content"] if isinstance(token, dict) else token
        return None if token is None else self._tokenizer.token_to_id(token)
