"""The demonstration's own parts; that it agrees as a whole is tested in ``tests/repo/test_readme.py``."""

from __future__ import annotations

import io
from collections import Counter
from pathlib import Path

import pytest

import score
from score import demo
from score.cli import main


def test_pythons_own_documentation_is_several_hundred_kilobytes_in_many_pieces() -> None:
    texts = demo.pieces(None)
    assert sum(map(len, texts)) > 300_000
    assert len(texts) > 200


def test_a_folders_text_files_are_read_and_others_left_out(tmp_path: Path) -> None:
    (tmp_path / "a.txt").write_text("One two\n" * 50)
    (tmp_path / "b.bin").write_bytes(b"\xff\xfe\x00words")
    (tmp_path / "c.txt").write_text("12 34\n")
    texts = demo.pieces(str(tmp_path))
    assert [text.count("\n") + 1 for text in texts] == [40, 10]


def test_words_are_lower_case_letters_so_none_can_be_a_todo_key() -> None:
    assert demo.words("To-do: to:17 Do") == Counter({"to": 2, "do": 2})
    assert not demo.WORD.fullmatch(demo.todo(17))


def test_a_piece_takes_effect_once_whoever_else_writes_it() -> None:
    with score.local() as client:
        first, second = demo.Shared(client), demo.Shared(client)
        demo.lay_out(first, 2)
        second.sync()
        found = Counter({"tea": 2})
        assert demo.add_piece(first, 0, found)
        assert not demo.add_piece(second, 0, found)
        first.sync()
        second.sync()
        assert first.counts["tea"] == 2
        assert list(second.index["tea"]) == [0]
        assert sorted(demo.unfinished(first)) == [1]


def test_replicas_with_other_contents_have_other_digests() -> None:
    with score.local() as client:
        first, second = demo.Shared(client), demo.Shared(client)
        assert first.digest() == second.digest()
        first.counts["tea"] = 1
        assert first.digest() != second.digest()
        second.sync()
        assert first.digest() == second.digest()


def test_the_report_names_what_does_not_agree() -> None:
    with score.local() as client:
        shared = demo.Shared(client)
        demo.lay_out(shared, 1)
        out = io.StringIO()
        status = demo.report(shared, ["tea tea"], {"ada": "other"}, 1.0, demo.Account(out))
        assert status == 1
        for culprit in ("ada's replicas", "the index", "the word count", "the list", "the stack"):
            assert f"WRONG   {culprit}" in out.getvalue()


@pytest.mark.parametrize("text", ["nowhere", "empty"])
def test_a_folder_without_text_is_refused_in_one_line(text: str, tmp_path: Path) -> None:
    (tmp_path / "empty").mkdir()
    out = io.StringIO()
    assert demo.run(str(tmp_path / text), out) == 2
    assert "--text" in out.getvalue()


def test_the_command_line_passes_the_folder_on(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(["demo", "--text", str(tmp_path / "nowhere")]) == 2
    assert "nowhere" in capsys.readouterr().out


def test_the_demonstration_agrees_on_a_small_text(tmp_path: Path) -> None:
    (tmp_path / "a.txt").write_text("the quick brown fox\njumps over the lazy dog\n" * 200)
    out = io.StringIO()
    assert demo.run(str(tmp_path), out) == 0, out.getvalue()
    assert "killed the server" in out.getvalue()
