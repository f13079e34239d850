"""Writes the pages of docs/ that follow from the code: the commands, the recipe, its JSON schema.

python tools/docs.py            writes them
python tools/docs.py --check    fails where one is stale, and names it
"""

import argparse
import json
import re
import sys
import types
from collections.abc import Iterable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any, Literal, Union, get_args, get_origin, get_type_hints

import typer.main
from pydantic.json_schema import GenerateJsonSchema

from handlens.base.files import write_text
from handlens.cli import app
from handlens.recipe import STARTERS, Recipe, starters
from handlens.training.durations import Duration

DOCS = Path(__file__).resolve().parent.parent / "docs"
DIALECT = "https://json-schema.org/draft/2020-12/schema"
GENERATED = "<!-- Written by tools/docs.py from the code; 'make docs' writes it again. -->"

Schema = Mapping[str, Any]


def main() -> int:
    """Write the pages, or with --check tell which are stale."""
    parser = argparse.ArgumentParser(description="Write the generated pages of docs/.")
    parser.add_argument("--check", action="store_true", help="write nothing; fail where a page is stale")
    checking = parser.parse_args().check
    stale = {DOCS / name: text for name, text in pages().items() if not is_fresh(DOCS / name, text)}
    for path, text in stale.items():
        shown = path.relative_to(DOCS.parent)
        if checking:
            print(f"{shown} is stale: 'make docs' writes it again.")
        else:
            write_text(path, text)
            print(f"{shown} written")
    if not stale:
        print("The generated pages of docs/ are fresh.")
    return int(checking and bool(stale))


def pages() -> dict[str, str]:
    """The generated pages by file name."""
    schema = recipe_schema()
    return {
        "commands.md": commands_page(),
        "recipe.md": recipe_page(schema),
        "recipe.schema.json": json.dumps(schema, indent=2, ensure_ascii=False) + "\n",
    }


def is_fresh(path: Path, text: str) -> bool:
    """Whether the file says what the code says."""
    return path.is_file() and path.read_text(encoding="utf-8") == text


# Commands


def commands_page() -> str:
    """Every command with its arguments and options."""
    # Typed as Any: since 0.26 typer carries its own copy of click, before it used click itself.
    group: Any = typer.main.get_command(app)
    callback = app.registered_callback
    assert callback is not None and callback.callback is not None
    functions = {
        command.name or str(getattr(command.callback, "__name__", "")).replace("_", "-"): command.callback
        for command in app.registered_commands
    }
    shown = {name: command for name, command in group.commands.items() if not command.hidden}
    lines = [
        GENERATED,
        "# Commands",
        paragraphs(group.help),
        "`handlens <command> --help` says the same in the terminal. Errors that you can mend are one "
        "sentence and exit code 2; a mistake in Handlens is exit code 1.",
        table(
            ("command", "what it does"),
            (
                (f"[`{name}`](#{anchor(name)})", cell(summary(command.help)))
                for name, command in shown.items()
            ),
        ),
        "Before the command:",
        options_table(group.params, get_type_hints(callback.callback)),
    ]
    for name, command in shown.items():
        function = functions[name]
        assert function is not None
        lines += command_section(name, command, get_type_hints(function))
    return "\n\n".join(lines) + "\n"


def command_section(name: str, command: Any, hints: Mapping[str, Any]) -> Iterator[str]:
    """The part of the page about one command."""
    arguments = [p for p in command.params if p.param_type_name == "argument" and not p.hidden]
    usage = ["handlens", name, "[OPTIONS]", *(argument_words(argument) for argument in arguments)]
    yield f"## {name}"
    yield paragraphs(command.help)
    yield f"```\n{' '.join(usage)}\n```"
    if arguments:
        yield table(
            ("argument", "what it is"), ((f"`{p.name.upper()}`", cell(p.help or "")) for p in arguments)
        )
    if any(p.param_type_name == "option" for p in command.params):
        yield options_table(command.params, hints)


def argument_words(argument: Any) -> str:
    """An argument as it stands in a usage line."""
    word = argument.name.upper() + ("..." if argument.nargs == -1 else "")
    return word if argument.required else f"[{word}]"


def options_table(params: Iterable[Any], hints: Mapping[str, Any]) -> str:
    """The options of a command, each with its default."""
    return table(
        ("option", "what it does", "default"),
        (
            (option_words(p, hints[p.name]), cell(p.help or ""), default_words(p))
            for p in params
            if p.param_type_name == "option" and not p.hidden
        ),
    )


def option_words(option: Any, hint: Any) -> str:
    """The names of an option, long ones first, and what is to be put behind them."""
    names = ", ".join(f"`{name}`" for name in sorted(option.opts, key=len, reverse=True))
    if option.secondary_opts:
        names += " / " + ", ".join(f"`{name}`" for name in option.secondary_opts)
    placeholder = option.metavar or type_word(hint)
    return f"{names} `{escaped_bar(placeholder)}`" if placeholder else names


def type_word(hint: Any) -> str:
    """What stands for a value in a usage line; nothing for a flag."""
    if get_origin(hint) in (Union, types.UnionType, list, tuple):
        return next(type_word(part) for part in get_args(hint) if part is not types.NoneType)
    if get_origin(hint) is Literal:
        return "|".join(map(str, get_args(hint)))
    return {bool: "", int: "INTEGER", float: "NUMBER", str: "TEXT", Path: "PATH"}[hint]


def default_words(option: Any) -> str:
    """The default of an option, or that there is none."""
    if option.required:
        return "required"
    if option.default is None or option.default is False:
        return ""
    return f"`{escaped_bar(str(option.default))}`"


# The recipe


class PlainSchema(GenerateJsonSchema):
    """A schema without the titles that only repeat the keys, and with the defaults that are made anew."""

    def field_title_should_be_set(self, schema: Any) -> bool:
        """Never."""
        return False

    def get_default_value(self, schema: Any) -> Any:
        """The default, or what its factory makes."""
        factory = schema.get("default_factory")
        return factory() if factory else super().get_default_value(schema)


def recipe_schema() -> dict[str, Any]:
    """The JSON schema of a recipe, as editors read it."""
    schema = {"$schema": DIALECT, **Recipe.model_json_schema(schema_generator=PlainSchema)}
    unwrap(schema)
    return schema


def unwrap(schema: Any) -> None:
    """Put each paragraph of the descriptions on one line, in place: editors break them where lines end."""
    if isinstance(schema, dict):
        if isinstance(schema.get("description"), str):
            schema["description"] = paragraphs(schema["description"])
        for inner in schema.values():
            unwrap(inner)
    elif isinstance(schema, list):
        for inner in schema:
            unwrap(inner)


def recipe_page(schema: Schema) -> str:
    """Every key of a recipe, section by section, and the starters."""
    lines = [
        GENERATED,
        "# The recipe",
        "A recipe is a YAML file that says everything a run needs but the pictures. What it leaves out has "
        "the default of the tables below; `handlens recipes careful` prints a recipe with all of them. One "
        "value is changed for one run with `--set`, for example `--set train.epochs=20`. A key that there "
        "is not, or a value that cannot be, stops a run before it begins, and all problems are told at once.",
        "Editors complete and check a recipe that begins with this line "
        "(with the way to [recipe.schema.json](recipe.schema.json)):",
        "```yaml\n# yaml-language-server: $schema=docs/recipe.schema.json\n```",
        *spec_sections(schema, schema["$defs"]),
        "## Starter recipes",
        "These are in the package; `--recipe` takes their names.",
        *(starter_section(name) for name in starters()),
    ]
    return "\n\n".join(lines) + "\n"


def spec_sections(spec: Schema, specs: Mapping[str, Schema]) -> Iterator[str]:
    """The table of a recipe's own keys, then a section for each spec inside it."""
    sections = dict(sections_of(spec, specs))
    # A spec that stands in several places is told at the first one; the others point there.
    first = {name: heading for heading, (name, _) in reversed(sections.items())}
    yield spec_table(spec, specs, first)
    for heading, (name, listed) in sections.items():
        if first[name] == heading:
            yield f"## {heading}"
            told = "\n\n".join(map(cell, specs[name]["description"].split("\n\n")))
            yield told + (" A list of such mappings." if listed else "")
            yield spec_table(specs[name], specs, first)


def sections_of(
    spec: Schema, specs: Mapping[str, Schema], place: str = ""
) -> Iterator[tuple[str, tuple[str, bool]]]:
    """Of every spec inside a spec, at any depth: its heading, its name, and whether it stands in a list."""
    for key, field in spec["properties"].items():
        inner = list(inner_specs(field))
        for name, listed in inner:
            heading = f"{place}{key}"
            yield heading if len(inner) == 1 else f"{heading}: {kind(specs[name])}", (name, listed)
            yield from sections_of(specs[name], specs, f"{heading}.")


def kind(spec: Schema) -> str:
    """What tells a spec from the others that may stand in its place: the first key that it needs."""
    return str(spec["required"][0])


def spec_table(spec: Schema, specs: Mapping[str, Schema], sections: Mapping[str, str]) -> str:
    """The keys of one spec; `sections` has the heading under which each inner spec is told."""
    needed = spec.get("required", ())
    rows = []
    for key, field in spec["properties"].items():
        default = "required" if key in needed else value_words(field)
        # Pydantic leaves a description out where it would only repeat that of the spec.
        described = [field, *(specs[name] for name, _ in inner_specs(field))]
        told = next((cell(each["description"]) for each in described if "description" in each), "")
        rows.append((f"`{key}`", words(field, sections), default, told))
    return table(("key", "type", "default", "what it is"), rows)


def inner_specs(field: Schema, in_list: bool = False) -> Iterator[tuple[str, bool]]:
    """The names of the specs that a field can hold, and whether it holds a list of them."""
    if "$ref" in field:
        yield spec_name(field), in_list
    for option in options_of(field):
        yield from inner_specs(option, in_list)
    if field.get("type") == "array":
        yield from inner_specs(field.get("items", {}), in_list=True)


def spec_name(reference: Schema) -> str:
    """The name of the spec that a schema refers to."""
    return str(reference["$ref"]).rpartition("/")[2]


def options_of(field: Schema) -> Sequence[Schema]:
    """The schemas of which one has to hold: pydantic says oneOf where it knows which from the value."""
    options: Sequence[Schema] = field.get("anyOf") or field.get("oneOf") or ()
    return options


def words(field: Schema, sections: Mapping[str, str], several: bool = False) -> str:
    """What may stand there, for people."""
    if "$ref" in field:
        section = sections[spec_name(field)]
        return f"[{section}](#{anchor(section)})"
    if options := options_of(field):
        return " or ".join(words(option, sections, several) for option in options)
    if field.get("type") == "array":
        return f"list{'s' * several} of {words(field['items'], sections, several=True)}"
    if field.get("type") == "object":
        inner = words(field["additionalProperties"], sections, several=True)
        return f"mapping{'s' * several} of names to {inner}"
    return plain_words(field, several)


def plain_words(field: Schema, several: bool) -> str:
    """What may stand there, where that is a word, a number or a text."""
    if "enum" in field or "const" in field:
        *others, last = (f"`{escaped_bar(str(value))}`" for value in field.get("enum", [field.get("const")]))
        return f"{', '.join(others)} or {last}" if others else last
    if field["type"] in FIXED:
        return FIXED[field["type"]]
    if field.get("pattern") in FORMS:
        return FORMS[field["pattern"]]
    within = ", ".join(limits(field))
    return NOUNS[field["type"]] + "s" * several + (f" ({within})" if within else "")


FIXED = {"boolean": "`true` or `false`", "null": "`null`"}
NOUNS = {"integer": "whole number", "number": "number", "string": "text"}
FORMS = {Duration.PATTERN: "text like `10%`, `2 epochs` or `500 steps`"}
"""Texts whose pattern is easier said by examples."""


def limits(field: Schema) -> Iterator[str]:
    """How small and how large a number may be, and what a text has to match."""
    for key, said in (
        ("minimum", "at least"),
        ("exclusiveMinimum", "above"),
        ("maximum", "at most"),
        ("exclusiveMaximum", "below"),
    ):
        if key in field:
            yield f"{said} {field[key]}"
    if "pattern" in field:
        yield f"matching `{escaped_bar(field['pattern'])}`"


def value_words(field: Schema) -> str:
    """The default of a field; a section of its own tells those of a nested spec."""
    default = field.get("default")
    nested = isinstance(default, dict) and any(inner_specs(field))
    if nested or (default == "" and field.get("type") == "string"):
        return ""
    # As it is to be written in YAML: words without quotation marks.
    text = default if isinstance(default, str) else json.dumps(default, ensure_ascii=False)
    return f"`{escaped_bar(text)}`"


def starter_section(name: str) -> str:
    """A starter with its description and its file."""
    text = (STARTERS / f"{name}.yaml").read_text(encoding="utf-8")
    return f"### {name}\n\n{cell(Recipe.load(name).description)}\n\n```yaml\n{text.rstrip()}\n```"


# Markdown


def table(head: tuple[str, ...], rows: Iterable[tuple[str, ...]]) -> str:
    """A table whose cells are Markdown."""
    lines = [head, ("---",) * len(head), *rows]
    return "\n".join(f"| {' | '.join(line)} |" for line in lines)


def cell(text: str) -> str:
    """Plain words with `code` in them, as a cell: nothing else in them is taken for Markdown."""
    pieces = " ".join(text.split()).split("`")
    # Every second piece stands between backticks.
    pieces[::2] = (re.sub(r"([<>*\[\]])", r"\\\1", piece) for piece in pieces[::2])
    return escaped_bar("`".join(pieces))


def escaped_bar(text: str) -> str:
    """Text whose bars do not end a cell."""
    return text.replace("|", r"\|")


def paragraphs(text: str | None) -> str:
    """The help of a command, each paragraph on one line."""
    return "\n\n".join(" ".join(part.split()) for part in (text or "").split("\n\n"))


def summary(text: str | None) -> str:
    """The first paragraph of the help of a command."""
    return paragraphs(text).partition("\n\n")[0]


def anchor(heading: str) -> str:
    """The address of a heading, as GitHub makes it."""
    return re.sub(r"[^\w\- ]", "", heading.lower()).replace(" ", "-")


if __name__ == "__main__":
    sys.exit(main())
