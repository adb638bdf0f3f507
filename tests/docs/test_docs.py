"""The pages in docs are those that the registry gives."""

import importlib.util
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]


def test_environment_pages_are_up_to_date():
    spec = importlib.util.spec_from_file_location("make_docs", ROOT / "scripts" / "make_docs.py")
    make_docs = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(make_docs)
    for name, text in make_docs.pages().items():
        kept = (make_docs.FOLDER / name).read_text(encoding="utf-8")
        assert kept == text, f"run `python scripts/make_docs.py`: docs/environments/{name} is out of date"


def test_environment_films_are_there():
    pages = sorted((ROOT / "docs" / "environments").glob("*-v*.md"))
    assert pages
    for page in pages:
        film = page.with_suffix(".gif")
        assert film.read_bytes()[:6] in (b"GIF87a", b"GIF89a"), film
