"""What the stores and logs count, the same for every implementation. Counts are since this object was made."""

import msgspec


class StoreStatistics(msgspec.Struct, frozen=True):
    """`gets` includes `hits`; `deleted` counts entries that were there; `unreadable` entries counted as absent."""

    gets: int
    hits: int
    puts: int
    deleted: int
    unreadable: int


class LogStatistics(msgspec.Struct, frozen=True):
    """`followers` are running now; `reconnects` counts how often one of them had to wait for the server; `unknown` how
    often a record was read that cannot be (damaged, or of a newer version); `replicas` follow the log's server.
    """

    identity: str
    appended: int
    followers: int
    reconnects: int
    unknown: int = 0
    replicas: int = 0


class FeedStatistics(msgspec.Struct, frozen=True):
    """News sent, heard from others, and `dropped` unsent; `missed` counts how often some of the others' were missed."""

    sent: int
    heard: int
    dropped: int
    missed: int
