"""Choice of the weights that Muon trains: by parts of their names that the user types, or by their names and shapes.

Only texts and shapes are needed here; the optimizer's builder, the exported code and the form use it.
"""

from __future__ import annotations

import re
from collections.abc import Sequence

OUTER = r"embed|(^|\.)(emb|wte|wpe|conv_in|conv_out|first_layer|final_layer|classifier|head|lm_head)(\.|$)"
"""Pattern in the names of embeddings and of first and last layers, in upper or lower case."""

OUTER_WORDS = "embed anywhere in the name, or a part of it between points that is emb, wte, wpe, conv_in, conv_out, first_layer, final_layer, classifier, head or lm_head"
"""Description of that pattern."""


def pieces(text: object) -> tuple[str, ...]:
    """Split the parts of names that were typed, with commas between them.

    >>> pieces("blocks, attn.,")
    ('blocks', 'attn.')
    """
    return tuple(piece for part in text.split(",") if (piece := part.strip())) if isinstance(text, str) else ()


def is_expression(text: object) -> bool:
    r"""Return whether every piece is a valid regular expression.

    >>> is_expression(r"blocks\.\d+, attn"), is_expression("(blocks")
    (True, False)
    """
    try:
        for piece in pieces(text):
            re.compile(piece)
    except re.error:
        return False
    return True


def named_hidden(name: str, text: object, *, expressions: bool) -> bool:
    """Return whether a name contains one of the pieces, as a regular expression or as plain text.

    >>> named_hidden("unet.blocks.12.attn.weight", "blocks.1, mlp", expressions=False)
    True
    """
    return any(re.search(piece if expressions else re.escape(piece), name) for piece in pieces(text))


def hidden_by_itself(name: str, shape: Sequence[int]) -> bool:
    """Return whether a tensor counts as a hidden matrix when the user has not named the hidden layers.

    It must have two dimensions or more, neither side of its matrix may be 1, and its name, if it has one, must not be that
    of an embedding or of a first or last layer. A convolution counts as a matrix of its outputs by everything else.

    >>> hidden_by_itself("blocks.0.weight", (64, 32)), hidden_by_itself("lm_head.weight", (64, 32))
    (True, False)
    >>> hidden_by_itself("blocks.0.bias", (64,)), hidden_by_itself("", (16, 8, 3, 3))
    (False, True)
    """
    if len(shape) < 2 or shape[0] < 2 or all(side < 2 for side in shape[1:]):
        return False
    return not re.search(OUTER, name, re.IGNORECASE)
