"""What a rank's embeddings and head are for, which decides what of them it has to hold."""

from dataclasses import dataclass


@dataclass(frozen=True)
class VocabularyUse:
    """Of one rank. The defaults keep most."""

    head_width: int | None = None
    """Columns of an embedding that is the rank's head, too; None where none is."""
    embeds: bool = True
    """It looks tokens up in its embedding: the first stage does."""
    head_is_read: bool = True
    """Something besides the head's kernel reads the head's weight."""

    @property
    def keeps_head(self) -> bool:
        """Whether an embedding that is the head, too, is needed in its own form."""
        return self.embeds or self.head_is_read
