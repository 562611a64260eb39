"""Parts of the pool are kept whole with what they show, and groups are drawn from equally."""

from __future__ import annotations

from collections import Counter
from pathlib import Path

import numpy as np

from vader_bench.pocket.oracle import look
from vader_bench.pretrain.clips import draw_clips
from vader_bench.pretrain.pool import Part, Pool, as_bytes, as_floats, keep_part, known_part
from vader_bench.seeding import numpy_stream


def test_a_kept_part_says_what_the_oracle_sees(drawn_part: Part) -> None:
    assert len(drawn_part) == 12
    clips = draw_clips("train", 12)
    assert (
        sum(piece.noun == clip.caption.noun for piece, clip in zip(drawn_part.seen, clips, strict=True)) >= 10
    )
    assert drawn_part[5].seen == look(as_floats(drawn_part[5].frames))


def test_books_are_looked_for_where_one_is_spoken_of(drawn_part: Part) -> None:
    for index, clip in enumerate(draw_clips("train", 12)):
        books = drawn_part[index].books
        assert len(books) == 8
        if "book" not in (clip.caption.noun, clip.caption.prop_noun):
            assert not any(books)


def test_a_part_that_was_not_finished_is_not_there(tmp_path: Path, drawn_part: Part) -> None:
    keep_part(tmp_path, "some", drawn_part.frames[:1], drawn_part.prompts[:1])
    (tmp_path / "pool" / "some.json").unlink()
    assert known_part(tmp_path, "some") is None
    assert known_part(tmp_path, "other") is None


def test_groups_are_drawn_from_equally_whatever_their_size(drawn_part: Part) -> None:
    few = Part(drawn_part.frames[:1], ["alone"], drawn_part.seen[:1], drawn_part.books[:1])
    pool, rng = Pool({"few": [few], "many": [drawn_part, few]}), numpy_stream(0, "pool")
    drawn = Counter(pool.draw(rng).prompt for _ in range(600))
    assert 270 < drawn["alone"] < 390  # a half, and a thirteenth of the other half
    assert set(drawn) == {"alone", *drawn_part.prompts}


def test_frames_are_floats_of_their_clip(drawn_part: Part) -> None:
    frame, piece = Pool({"one": [drawn_part]}).frame(numpy_stream(0, "frame"))
    assert frame.shape == (64, 64, 3)
    assert any(np.array_equal(as_bytes(frame), other) for other in piece.frames)


def test_bytes_come_back() -> None:
    values = np.arange(256, dtype=np.uint8)
    assert np.array_equal(as_bytes(as_floats(values)), values)
