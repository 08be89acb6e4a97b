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
    """`followers` are running now; `reconnects` counts how often one of them had to wait for the server."""

    identity: str
    appended: int
    followers: int
    reconnects: int
