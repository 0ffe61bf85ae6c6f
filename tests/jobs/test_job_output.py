"""A job's log is bounded, and whoever reads it gets every byte that is kept, once and in order."""

from __future__ import annotations

from pathlib import Path
from tempfile import TemporaryDirectory

from hypothesis import given, settings
from hypothesis import strategies as st

from shoal.jobs.output import JobOutput, log_name, read_output


@settings(max_examples=60)
@given(
    pieces=st.lists(st.binary(min_size=1, max_size=40), max_size=40),
    limit=st.integers(2, 200),
    size=st.integers(1, 64),
)
def test_what_is_kept_is_the_newest_and_is_read_whole(pieces: list[bytes], limit: int, size: int) -> None:
    with TemporaryDirectory() as folder:
        output = JobOutput(folder, "job", limit)
        for piece in pieces:
            output.write(piece)
        output.close()
        everything = b"".join(pieces)
        assert output.end == len(everything)
        found, position = b"", 0
        while True:
            begin, data = read_output(output.path, position, size, output.start)
            if not data:
                break
            if position:
                assert begin == position
            found += data
            position = begin + len(data)
        assert everything.endswith(found)
        assert len(found) == output.end - output.start
        # One piece may be larger than the whole bound; it is never cut.
        assert len(found) <= limit + 2 * max(map(len, pieces), default=0)
        assert len(found) >= min(len(everything), limit // 2)


def test_a_reader_keeps_its_place_while_the_log_is_rotated(tmp_path: Path) -> None:
    output = JobOutput(str(tmp_path), "job", 100)
    seen, position = b"", 0
    for number in range(200):
        output.write(b"%03d\n" % number)
        position, data = read_output(output.path, position, 1_000, output.start)
        seen += data
        position += len(data)
    output.close()
    assert seen == b"".join(b"%03d\n" % number for number in range(200))


def test_names_of_logs_are_files_of_one_folder_and_differ() -> None:
    names = [log_name(one) for one in ("a b", "a_b", "ä", "ö", "..", "." * 100, "x" * 128)]
    assert len(set(names)) == len(names)
    assert all("/" not in name and not name.startswith(".") and len(name) < 120 for name in names)
