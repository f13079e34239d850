"""The strict base of everything a recipe can say, and YAML that does not trip people."""

import re
import types
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, Self, Union, get_args, get_origin

import yaml
from pydantic import BaseModel, ConfigDict, ValidationError

from handlens.base.choices import suggestion
from handlens.base.errors import HandlensError, Problems


class Spec(BaseModel):
    """Settings of one part: frozen, typed, unknown keys refused, every field described."""

    model_config = ConfigDict(frozen=True, extra="forbid", strict=False, use_attribute_docstrings=True)

    @classmethod
    def parse(cls, values: Mapping[str, Any], where: str) -> Self:
        """Check `values`, or tell every problem at once with its place and its mend."""
        try:
            return cls.model_validate(values)
        except ValidationError as error:
            raise Problems(
                f"{where} has {error.error_count()} problem{'s' * (error.error_count() > 1)}:",
                (_sentence(cls, problem) for problem in error.errors()),
            ) from None


def _sentence(spec: type[BaseModel], problem: Mapping[str, Any]) -> str:
    """One pydantic error as a sentence: the place, what is wrong there, what to write instead."""
    # Pydantic adds the names of union members to the place; only what stands in the file helps.
    place = [part for part in problem["loc"] if not (isinstance(part, str) and "[" in part)]
    path = ".".join(str(part) for part in place)
    if problem["type"] == "extra_forbidden":
        known = _fields_at(spec, place[:-1])
        listed = f" Known keys there: {', '.join(known)}." if known else ""
        return f"{path}: there is no such key.{suggestion(str(place[-1]), known)}{listed}"
    if problem["type"] == "literal_error":
        expected = re.findall(r"'([^']*)'", str(problem["ctx"]["expected"]))
        return (
            f"{path}: {problem['input']!r} is not one of {', '.join(expected)}."
            f"{suggestion(str(problem['input']), expected)}"
        )
    if problem["type"] == "missing":
        return f"{path}: this key is missing."
    message = str(problem["msg"]).removeprefix("Value error, ").removeprefix("Input ")
    # What the whole is would fill the screen, and say nothing more.
    return f"{path}: {message} (it is {problem['input']!r})." if path else f"as a whole: {message}."


def _fields_at(spec: type[BaseModel], place: Sequence[str | int]) -> list[str]:
    """The keys that may stand at a place of a nested spec."""
    current: type[BaseModel] | None = spec
    for part in place:
        field = current.model_fields.get(str(part)) if current else None
        current = _spec_in(field.annotation) if field else current if isinstance(part, int) else None
    return list(current.model_fields) if current else []


def _spec_in(annotation: Any) -> type[BaseModel] | None:
    """The spec inside an annotation such as `X`, `X | None` or `tuple[X, ...]`."""
    if isinstance(annotation, type) and issubclass(annotation, BaseModel):
        return annotation
    if get_origin(annotation) in (Union, types.UnionType, tuple, list):
        return next(filter(None, map(_spec_in, get_args(annotation))), None)
    return None


class _Loader(yaml.SafeLoader):
    """YAML 1.2 as people expect it: `1e-4` is a number, `no` and `on` are words."""


# YAML 1.1 reads 8:2 as 482 (a time) and `no` as false; both are what a person means as words.
_Loader.yaml_implicit_resolvers = {
    first: [
        (tag, regexp)
        for tag, regexp in resolvers
        if tag.rpartition(":")[2] not in ("bool", "int", "float", "timestamp")
    ]
    for first, resolvers in yaml.SafeLoader.yaml_implicit_resolvers.items()
}
for _tag, _pattern, _first in (
    ("bool", r"true|True|TRUE|false|False|FALSE", "tTfF"),
    ("int", r"[-+]?(?:0|[1-9][0-9]*)", "-+0123456789"),
    ("float", r"[-+]?(?:\.[0-9]+|[0-9]+\.[0-9]*)(?:[eE][-+]?[0-9]+)?", "-+.0123456789"),
    ("float", r"[-+]?[0-9]+[eE][-+]?[0-9]+", "-+0123456789"),
    ("float", r"[-+]?\.(?:inf|Inf|INF)|\.(?:nan|NaN|NAN)", "-+."),
):
    _Loader.add_implicit_resolver(f"tag:yaml.org,2002:{_tag}", re.compile(f"^(?:{_pattern})$"), list(_first))


def read_yaml(text: str, where: str) -> Any:
    """Parse YAML text; a mistake in it is told with its line."""
    try:
        # A subclass of SafeLoader: plain data only.
        return yaml.load(text, Loader=_Loader)  # noqa: S506
    except yaml.YAMLError as error:
        mark = getattr(error, "problem_mark", None)
        line = f", line {mark.line + 1}" if mark else ""
        reason = getattr(error, "problem", None) or str(error)
        raise HandlensError(f"{where}{line}: this is not valid YAML ({reason}).") from None


def read_yaml_file(path: Path) -> Any:
    """Parse a YAML file."""
    try:
        text = path.read_text(encoding="utf-8")
    except (OSError, UnicodeDecodeError) as error:
        raise HandlensError(f"{path} cannot be read as a text file: {error}.") from None
    return read_yaml(text, str(path))


class _Dumper(yaml.SafeDumper):
    """Puts quotation marks around the words that our reader would take for something else."""


_Dumper.yaml_implicit_resolvers = _Loader.yaml_implicit_resolvers


def write_yaml(values: Any) -> str:
    """YAML text in the order of the fields, with words in any script kept readable."""
    return str(yaml.dump(values, Dumper=_Dumper, sort_keys=False, allow_unicode=True, width=100))
