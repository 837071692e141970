from __future__ import annotations

import pytest

from homolog.errors import UnreadableFile
from homolog.io.label_names import names_beside, read_label_names, write_label_names

NAMES = {1: "spleen", 12: "right kidney"}


def test_names_come_back_as_they_were_written(tmp_path):
    write_label_names(NAMES, tmp_path / "labels.json")
    assert read_label_names(tmp_path / "labels.json") == NAMES
    assert names_beside(tmp_path / "labels.nii.gz") == NAMES


def test_the_tables_of_bids_are_read(tmp_path):
    (tmp_path / "labels.tsv").write_text("index\tname\tabbreviation\n1\tspleen\tSPL\n12\tright kidney\tRK\n")
    assert read_label_names(tmp_path / "labels.tsv") == names_beside(tmp_path / "labels.nii.gz") == NAMES


@pytest.mark.parametrize("text", ['{"Modality": "CT"}', "[1, 2]", "nothing", "{"])
def test_what_holds_no_names_is_refused_where_it_was_named_and_passed_over_where_it_was_not(tmp_path, text):
    (tmp_path / "labels.json").write_text(text)
    with pytest.raises(UnreadableFile, match=r"labels\.json holds no names"):
        read_label_names(tmp_path / "labels.json")
    assert names_beside(tmp_path / "labels.nii.gz") == {}


def test_a_table_without_its_columns_is_refused(tmp_path):
    (tmp_path / "labels.tsv").write_text("number,name\n1,spleen\n")
    with pytest.raises(UnreadableFile, match=r"labels\.tsv holds no names"):
        read_label_names(tmp_path / "labels.tsv")
