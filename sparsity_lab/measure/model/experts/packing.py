"""The tokens of one expert, packed window by window.

[batch, 1 + most, F]: the first position of a window is at place 0 where it came here, the others are behind it in
order, and rows of places left over are zero.
"""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor


@dataclass(frozen=True)
class TokenPacking:
    """Where the tokens of one expert are among [batch, places].

    Attributes:
        window, place: int64 [tokens].
        present: bool [batch, places], True where there is a token.
    """

    window: Tensor
    place: Tensor
    present: Tensor

    @classmethod
    def of(cls, token: Tensor, shape: tuple[int, int]) -> TokenPacking:
        """For tokens at these places of the flattened [batch, positions], in increasing order."""
        batch, positions = shape
        window, place = token // positions, token % positions
        later = place > 0
        count = torch.bincount(window[later], minlength=batch)
        before = count.cumsum(0) - count
        place = torch.where(later, later.cumsum(0) - before[window], 0)
        most = max(1, int(count.amax()))  # a place to spare, so that no view of it without a BOS is empty
        present = torch.zeros(batch, 1 + most, dtype=torch.bool, device=token.device)
        present[window, place] = True
        return cls(window, place, present)

    def pack(self, rows: Tensor) -> Tensor:
        """[batch, places, n] of [tokens, n]."""
        packed = rows.new_zeros(*self.present.shape, rows.shape[-1])
        packed[self.window, self.place] = rows
        return packed

    def unpack(self, packed: Tensor) -> Tensor:
        """[tokens, n] of [batch, places, n]."""
        return packed[self.window, self.place]
