"""One thread, no weights of this machine's owner, no network."""

from alone import nothing_at_hand, one_thread

__all__ = ["nothing_at_hand", "one_thread"]
