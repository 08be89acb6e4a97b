"""The texts of `reference.json`: questions as people ask them, and what a tokenizer finds hard."""

_QUESTIONS = [
    "How do I reset my password?",
    "how can i change my password if i forgot it",
    "What is the capital of France?",
    "Which city is the capital of France?",
    "Explain the difference between TCP and UDP.",
    "Is it safe to take ibuprofen together with paracetamol?",
    "Is it not safe to take ibuprofen together with paracetamol?",
    "Why is the sky blue?",
    "Translate 'good morning' into Spanish, German and Italian.",
    "Write a short poem about a lighthouse in winter.",
    "Who wrote Pride and Prejudice, and when was it published?",
    "Summarise the plot of Hamlet in three sentences.",
    "What are the side effects of too much coffee?",
    "Cancel my order and refund the shipping costs, please.",
    "enable two-factor authentication",
    "disable two-factor authentication",
    "Recommend a vegetarian dinner that takes less than twenty minutes.",
    "My flight was cancelled. What are my rights as a passenger in the European Union?",
    "yes",
    "Thanks!",
]

_NUMBERS = [
    "What is 17 * 23?",
    "What is 17 * 32?",
    "Convert 98.6 degrees Fahrenheit to Celsius.",
    "3.14159265358979323846264338327950288",
    "Remind me on 2024-02-29 at 07:45 UTC.",
    "Invoice 000123 over EUR 1,234.56 is due in 30 days.",
    "0x7fff_ffff 1e-9 -273.15 50% 12:30",
]

_CODE = [
    "def add(a: int, b: int) -> int:\n    return a + b",
    "SELECT name, COUNT(*) FROM users WHERE deleted_at IS NULL GROUP BY name HAVING COUNT(*) > 1;",
    "Why does `git rebase -i HEAD~3` say 'fatal: invalid upstream'?",
    "TypeError: cannot unpack non-iterable NoneType object",
    '{"id": 42, "tags": ["a", "b"], "nested": {"ok": true}}',
    "curl -s https://example.com/v1/items?limit=10 | jq '.data[].id'",
    '#include <stdio.h>\nint main(void) { puts("hi"); return 0; }',
    "getUserByEmailAddressOrThrow vs. get_user_by_email_address",
]

_LANGUAGES = [
    "日本の首都はどこですか？",
    "パスワードを忘れました。どうすればいいですか。",
    "如何重置我的密码？",
    "비밀번호를 어떻게 재설정하나요?",
    "Wie setze ich mein Passwort zurück, wenn ich die E-Mail-Adresse nicht mehr habe?",
    "¿Cuál es la capital de Francia?",
    "Où se trouve la bibliothèque la plus proche ?",
    "Какой город является столицей Франции?",
    "ما هي عاصمة فرنسا؟",
    "मैं अपना पासवर्ड कैसे बदलूं?",
    "Ποια είναι η πρωτεύουσα της Γαλλίας;",
    "I LOVE Ünïcödé, naïve façades and e\u0301clairs",
]

_ODD = [
    "",
    " ",
    "\n\t\r\n",
    "?",
    "...",
    "a",
    "🎉",
    "I got the job 🎉🎉 what do I tell my boss? 😬",
    "👩‍👩‍👧‍👦 family",
    "zero\u200bwidth and\u00a0no-break spaces",
    "null\x00byte and bell\x07",
    "[CLS] [SEP] [MASK] [PAD]",
    "   leading and trailing   ",
    "x" * 101,
    "supercalifragilisticexpialidocious antidisestablishmentarianism",
    "\u202eright to left override",
    "- one\n- two\n\n* three\n1. four",
]

_LONG = [
    "The committee met on Tuesday to discuss the budget for the coming year. " * 4,
    "When a request arrives, the proxy first looks for an identical one among its entries; if there is none, it turns "
    "the last question into a vector and searches for questions that mean the same. A candidate must pass a gate that "
    "compares numbers, dates, names and negations, because a vector does not tell them apart. Only then is the stored "
    "answer sent, together with headers that say where it came from and how old it is. Otherwise the request goes to "
    "the provider, and the answer is kept for those who ask later. Explain this to somebody who runs a small shop.",
    "token " * 250,
    "word " * 254,
]

TEXTS = _QUESTIONS + _NUMBERS + _CODE + _LANGUAGES + _ODD + _LONG
