"""What the templates of all pages share: how they are rendered, and the words that they know."""

from collections.abc import Callable

from jinja2 import Environment, PackageLoader, StrictUndefined, Template
from markupsafe import Markup

from handlens.report.words import count, percent, percent_interval, points, points_interval, unbroken


def page_template(file: str, **filters: Callable[..., str]) -> Template:
    """One of the templates, with filters of its own; a value that it is not given is an error."""
    environment = Environment(
        loader=PackageLoader("handlens.report"),
        autoescape=True,
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    environment.filters |= {"percent": percent, "interval": percent_interval, "unbroken": unbroken}
    environment.filters |= {"points": points, "points_interval": points_interval}
    environment.filters |= filters
    environment.globals |= {"count": count, "name": name}
    return environment.get_template(file)


def name(text: str) -> Markup:
    """A name that a user gave, apart from the text around it: it may be written from right to left."""
    return Markup("<bdi>{}</bdi>").format(text)
