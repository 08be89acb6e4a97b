"""What the built-in English model may be asked about."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from edgecache.decide import embeddable


@pytest.mark.parametrize(
    "text",
    [
        "What is the capital of France?",
        "capital france",
        "How do I say naïve in Japanese, 日本?",
        "What does 'carpe diem' mean?",
        "photosynthesis",
        "Où is what in French?",
        "Is São Paulo in Brazil?",
        "What did de la Cruz and von der Leyen say?",
    ],
)
def test_english_is_embedded(text: str) -> None:
    assert embeddable(text)


@pytest.mark.parametrize(
    "text",
    [
        "日本の首都はどこですか",
        "法国的首都是哪里？",
        "Какая столица Франции?",
        "ما هي عاصمة فرنسا؟",
        "फ्रांस की राजधानी क्या है?",
        "프랑스의 수도는 어디입니까?",
        "Ποια είναι η πρωτεύουσα;",
        "Quelle est la capitale de la France ?",
        "¿Cuál es la capital de Francia?",
        "Was ist die Hauptstadt von Frankreich?",
        "Qual è la capitale della Francia e che lingua parlano?",
        "Qual é a capital da França?",
        "Wat is de hoofdstad van Frankrijk?",
        "",
        "12345 !?",
        "🙂🙂",
        "word " * 1_000,
    ],
)
def test_what_it_cannot_judge_is_exact_only(text: str) -> None:
    assert not embeddable(text)


@given(st.text(alphabet=st.characters(codec=None)))
def test_any_text_gets_an_answer(text: str) -> None:
    assert embeddable(text) in (True, False)
