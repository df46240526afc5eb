"""Every paper has its row, every link of a row leads somewhere, and what is listed is what was measured."""

from __future__ import annotations

import difflib
import json

import pytest

from omniform import recipes
from omniform.catalogue import FAMILIES, KINDS, LINKS, RECORDS, STATUSES, entries, first_sources, plain, record, rows, written
from omniform.catalogue.computing import fingerprint, resolve, results

NUM = 327
"""Papers that this issue set out with; ours."""
ROWS = rows()


def test_all_papers_are_there():
    assert len(ROWS) == NUM == len({plain(row.title) for row in ROWS.values()})
    assert len(KINDS) == 11 and {row.kind for row in ROWS.values()} == set(KINDS)


def test_a_row_says_what_becomes_of_the_paper():
    for row in ROWS.values():
        assert row.title and row.modality and set(row.planned) <= set(LINKS), row.id
        assert bool(row.built or row.planned) != bool(row.nothing), f"{row.id}: something is built or planned, or nothing is, because ..."
        assert row.what or row.nothing, row.id
        assert row.family in FAMILIES or row.family in {"flow", "diffusion", "masked", "energy"}, f"{row.id}: no such family, {row.family}"


def test_what_is_built_is_not_planned():
    for row in ROWS.values():
        assert not set(row.planned) & set(row.built), f"{row.id}: python docs/generate.py strikes what is built from `planned`"


LINKED = [(row.id, link, name) for row in ROWS.values() for link in LINKS for name in getattr(row, link)]


@pytest.mark.parametrize(("row", "link", "name"), LINKED, ids=[f"{row}-{link}-{name}" for row, link, name in LINKED])
def test_a_link_leads_somewhere(row, link, name):
    assert resolve(link, name) is not None


def test_a_recipe_of_a_paper_in_the_catalogue_is_linked():
    """A title that is almost that of a row is a slip in the recipe or in the row."""
    titles = {plain(row.title): row for row in ROWS.values()}
    linked = {name: row.id for row in ROWS.values() for name in row.recipe}
    for name, (arxiv, title) in first_sources().items():
        near = difflib.get_close_matches(plain(title), titles, n=1, cutoff=0.9)
        if near:
            assert linked.get(name) == titles[near[0]].id, f"{name} cites {title!r}, which is almost the title of the row {titles[near[0]].id}"
        numbered = [row.id for row in ROWS.values() if arxiv and row.arxiv == arxiv]
        assert not numbered or linked.get(name) == numbered[0]


def test_sources_are_read_as_they_are_written():
    for name, (arxiv, title) in first_sources().items():
        source = recipes.get(name).source[0]
        assert (source.arxiv or "", source.title) == (arxiv, title), name


@pytest.mark.parametrize("name", recipes.names())
def test_records_are_of_the_recipes_as_they_are(name):
    recorded = record(name)
    assert recorded and recorded["fingerprint"] == fingerprint(name), f"{name} was changed after it was measured; write python docs/generate.py"
    assert recorded["builds"] is True


def test_no_record_is_left_over():
    assert {path.stem for path in (RECORDS / "recipes").glob("*.json")} == set(recipes.names())
    assert {path.stem for path in (RECORDS / "claims").glob("*.json")} == {told["row"] for told in results().values()}


def test_the_listing_has_everything_once():
    listed = entries()
    names = [entry["name"] for entry in listed]
    assert len(set(names)) == len(names)
    assert set(recipes.names()) <= set(names) and {row.id for row in ROWS.values()} <= {entry["row"] for entry in listed}
    assert all(entry["status"] and set(entry["status"]) <= set(STATUSES) for entry in listed)
    assert json.loads(json.dumps(listed)) == listed


def test_how_far_is_read_from_the_record():
    from omniform.catalogue import reached

    whole = {"fingerprint": "a", "builds": True, "facts": {"holds": 3, "differs": 0}, "contracts": {"of": "a", "held": 9}}
    assert reached(whole) == ("builds", "sized", "contracted")
    assert reached({**whole, "facts": {"holds": 2, "differs": 1}}) == ("builds", "partly sized", "contracted")
    assert reached({**whole, "facts": {"holds": 0, "differs": 0}}) == ("builds", "contracted")
    assert reached({**whole, "fingerprint": "b"}) == ("builds", "sized"), "contracts of another version say nothing"
    assert reached({}) == ()


def test_rows_are_written_once(tmp_path, monkeypatch):
    import omniform.catalogue as catalogue

    for kind in ("one", "two"):
        (tmp_path / f"{kind}.toml").write_text('[same]\ntitle = "T"\nfamily = "ar"\nmodality = ["text"]\n')
    monkeypatch.setattr(catalogue, "HERE", tmp_path)
    monkeypatch.setattr(catalogue, "KINDS", ("one", "two"))
    written.cache_clear()
    with pytest.raises(ValueError, match="two rows 'same'"):
        written()
    written.cache_clear()
