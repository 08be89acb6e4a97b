"""JSONTestSuite (Nicolas Seriot, MIT): what must be read is read, what must not be read is refused."""

import tarfile

import pytest
from shared_data import data_folder

from edgecache.errors import BadRequest
from edgecache.wire.bodies import decode

# Documents that RFC 8259 leaves to the implementation, and that are read here; all other `i_` are refused.
READ_ANYWAY = {
    "i_number_double_huge_neg_exp.json",
    "i_number_huge_exp.json",
    "i_number_neg_int_huge_exp.json",
    "i_number_pos_double_huge_exp.json",
    "i_number_real_neg_overflow.json",
    "i_number_real_pos_overflow.json",
    "i_number_real_underflow.json",
    "i_number_too_big_neg_int.json",
    "i_number_too_big_pos_int.json",
    "i_number_very_big_negative_int.json",
}


def documents() -> list[tuple[str, bytes]]:
    found = []
    with tarfile.open(data_folder("jsontestsuite") / "jsontestsuite.tar.gz") as archive:
        for member in archive:
            content = archive.extractfile(member)
            name = member.name.rpartition("/")[2]
            if content is not None and name.endswith(".json") and name[:2] in ("y_", "n_", "i_"):
                found.append((name, content.read()))
    return sorted(found)


DOCUMENTS = documents()


def test_the_suite_is_whole() -> None:
    assert len(DOCUMENTS) == 318


@pytest.mark.parametrize(("name", "document"), DOCUMENTS, ids=[name for name, _ in DOCUMENTS])
def test_document(name: str, document: bytes) -> None:
    if name.startswith("y_") or name in READ_ANYWAY:
        decode(document)
        return
    with pytest.raises(BadRequest):
        decode(document)
