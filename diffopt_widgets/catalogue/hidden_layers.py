"""Which weights Muon takes: told by pieces of their names, or by what their names and shapes say of themselves.

Plain text in, plain answers out: the optimizer's builder, the exported code and the form ask here.
"""

from __future__ import annotations

import re
from collections.abc import Sequence

OUTER = r"embed|(^|\.)(emb|wte|wpe|conv_in|conv_out|first_layer|final_layer|classifier|head|lm_head)(\.|$)"
"""What a name has, in any case of letters, when it is an embedding's or a first or last layer's."""

OUTER_WORDS = "embed anywhere in the name, or a part of it between points that is emb, wte, wpe, conv_in, conv_out, first_layer, final_layer, classifier, head or lm_head"
"""The same in words."""


def pieces(text: object) -> tuple[str, ...]:
    """The pieces of names that were typed, with commas between them.

    >>> pieces("blocks, attn.,")
    ('blocks', 'attn.')
    """
    return tuple(piece for part in text.split(",") if (piece := part.strip())) if isinstance(text, str) else ()


def is_expression(text: object) -> bool:
    r"""Whether every piece is a regular expression that can be searched for.

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
    """Whether a name has one of the pieces, searched for as regular expressions or letter by letter.

    >>> named_hidden("unet.blocks.12.attn.weight", "blocks.1, mlp", expressions=False)
    True
    """
    return any(re.search(piece if expressions else re.escape(piece), name) for piece in pieces(text))


def hidden_by_itself(name: str, shape: Sequence[int]) -> bool:
    """Whether a tensor is a hidden matrix by our own choice, where nobody named the hidden layers.

    It has two dimensions or more, none of the two sides of its matrix is 1, and its name, if there is one, is not that of
    an embedding or of a first or last layer. A convolution counts as the matrix of its outputs against all the rest.

    >>> hidden_by_itself("blocks.0.weight", (64, 32)), hidden_by_itself("lm_head.weight", (64, 32))
    (True, False)
    >>> hidden_by_itself("blocks.0.bias", (64,)), hidden_by_itself("", (16, 8, 3, 3))
    (False, True)
    """
    if len(shape) < 2 or shape[0] < 2 or all(side < 2 for side in shape[1:]):
        return False
    return not re.search(OUTER, name, re.IGNORECASE)
