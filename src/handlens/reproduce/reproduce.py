"""The story: a paper's study on one's own pictures, once a protocol, and its tables with ours below."""

import json
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from fnmatch import fnmatch
from pathlib import Path

from handlens.base import progress
from handlens.base.choices import suggestion
from handlens.base.errors import HandlensError
from handlens.base.files import write_text
from handlens.compare_runs import costs_of
from handlens.data.groups import GroupSpec
from handlens.data.made import refuse_among_classes
from handlens.data.samples import Samples
from handlens.data.split import SplitSpec
from handlens.evaluate.cost import Cost, Session
from handlens.explain.chosen import choose
from handlens.explain.explain import explain
from handlens.explain.network import Trained
from handlens.explain.spec import ExplainSpec
from handlens.report.comparison import write_page
from handlens.report.tables import Table
from handlens.reproduce.further import Further, further_pages
from handlens.reproduce.gap import Gap, gap_of, in_common
from handlens.reproduce.kinds import compared_kinds, kinds_table, settings_of_kinds
from handlens.reproduce.measured import RowRuns
from handlens.reproduce.notes import of_further_tasks, of_generated, of_the_limit
from handlens.reproduce.page import PAGE, write_reproduced
from handlens.reproduce.paper import Paper, ProtocolName, in_order
from handlens.reproduce.protocols import AS_PAPER, HONEST, PROTOCOLS, WORDS, Given, missing
from handlens.reproduce.quick import GROUP, SITE, quick_samples
from handlens.reproduce.tables import Compared, as_csv, compared, gaps_table, legend, own_rows, table_of
from handlens.study.cells import cells_of, named_cells
from handlens.study.effects import effects_of
from handlens.study.folder import StudyFolder
from handlens.study.sites import refuse_no_sites
from handlens.study.spec import StudySpec
from handlens.study.study import Reading, Study, run_study
from handlens.study.table import reasons_of, rows_of
from handlens.study.table import table_of as rows_beside_each_other

TABLES = "reproduced.csv"
CHOOSES_NETWORK = ("model.backbone", "model.weights")
"""Settings of the user's that every row follows."""


@dataclass(frozen=True)
class Asked:
    """How a reproduction is to be made."""

    out: Path
    quick: bool = False
    rows: tuple[str, ...] = ()
    """Names of rows with `*`, as the study calls them; none for all."""
    protocols: tuple[str, ...] = ()
    """None for all of the paper's."""
    seeds: int | None = None
    settings: tuple[str, ...] = ()
    processes: int = 1
    timed: bool = True
    site_column: str | None = None
    """The column that names the site of each picture, where the paper has a page about other sites."""
    command: str = ""


@dataclass(frozen=True)
class Reproduced:
    """What came of it."""

    paper: Paper
    folder: Path
    studies: Mapping[ProtocolName, Study]
    figures: tuple[Compared, ...]
    """Those of the paper's tables, and of the kinds that its classes fall under."""
    gaps: tuple[Gap, ...]
    """Of each row; none where only one protocol was run."""
    effects: Table | None
    """What the parts of the ablation are worth."""
    notes: tuple[str, ...]
    pages: tuple[Path, ...]
    """Comparisons of all rows, a page a protocol, and the grid of maps."""

    @property
    def tables(self) -> list[Table]:
        """The paper's tables, those of kinds, the leakage gap, and the effects."""
        told = [table_of(self.paper, name, self.figures) for name in self.paper.spec.tables]
        kinds = kinds_table(self.figures)
        told += [kinds] if kinds.rows else []
        told += [gaps_table(self.gaps)] if self.gaps else []
        return told + ([self.effects] if self.effects else [])

    @property
    def page(self) -> Path:
        """All of it for people."""
        return self.folder / PAGE

    @property
    def num_failed(self) -> int:
        """Runs that failed."""
        return sum(study.num("failed") for study in self.studies.values())


def reproduce(
    paper: Paper,
    samples: Samples | None,
    source: str,
    asked: Asked,
    open_run: Callable[[Path], Trained],
    group: GroupSpec | None = None,
) -> Reproduced:
    """Run a paper's study on pictures, or on drawn ones where it is quick and none are given.

    Given again after a stop, it goes on. `open_run` opens a finished run for the maps of where it looked.
    """
    out, notes = asked.out, list[str]()
    refuse_other_folder(out, paper)
    if asked.site_column and not paper.spec.further:
        raise HandlensError(f"{paper.name} has no page about other sites. Leave out --site-column.")
    if samples is None:
        samples, source = quick_samples(out, paper.spec), str(out / "pictures")
        # Where some stand in for generated ones, their manifest tells the groups.
        group = None if paper.spec.quick_expand else GROUP
        notes.append("The pictures are drawn: --quick was given and no pictures.")
        if paper.spec.further:
            asked = replace(asked, site_column=asked.site_column or SITE)
    refuse_among_classes(out, samples)
    if asked.site_column:
        refuse_no_sites(samples, asked.site_column)
    division = SplitSpec.parse({"ratios": paper.spec.ratios}, "The split")
    given = Given(samples, source, out, division, group)
    study, told = study_for(paper, samples, asked)
    notes += told
    if paper.spec.kinds:
        settings, told = settings_of_kinds(samples, asked.settings)
        asked = replace(asked, settings=(*settings, *asked.settings))
        notes += told
    studies: dict[ProtocolName, Study] = {}
    for protocol in paper.spec.protocols_among(asked.protocols):
        why = missing(protocol, given, paper.spec)
        if why:
            notes.append(why)
            continue
        progress.tell(f"{paper.name}: {WORDS[protocol]}.")
        pictures = PROTOCOLS[protocol](given, paper.spec)
        studies[protocol] = run_study(
            study,
            _reading(pictures),
            out / protocol,
            on="here" if asked.processes == 1 else "processes",
            processes=asked.processes,
            settings=settings_for(paper, asked, group if protocol != AS_PAPER else None),
            command=asked.command,
        )
    if not studies:
        raise HandlensError(notes[-1])
    further = Further()
    if paper.spec.further and HONEST in studies:
        further = further_pages(
            studies[HONEST], samples, source, out, asked.site_column, asked.quick, asked.command
        )
    return tell(paper, studies, asked, [*notes, *further.notes], open_run, further.pages)


def refuse_other_folder(out: Path, paper: Paper) -> None:
    """Two papers in one folder would overwrite each other's tables, and some rows have the same names."""
    if out.exists() and not out.is_dir():
        raise HandlensError(f"{out} is a file. Choose a folder with --out.")
    for protocol in PROTOCOLS:
        folder = StudyFolder(out / protocol)
        other = folder.read_study().name if folder.study_path.is_file() else paper.name
        if other != paper.name:
            raise HandlensError(f"{out} holds {other}, not {paper.name}. Choose another folder with --out.")


def _reading(samples: Samples) -> Reading:
    """What a study asks for its pictures, which are read already."""
    return lambda _: samples


def study_for(paper: Paper, samples: Samples, asked: Asked) -> tuple[StudySpec, list[str]]:
    """The paper's study without the rows that are not wanted, or that these pictures cannot have."""
    study, notes = paper.study.changed(asked.seeds, None), list[str]()
    if asked.quick:
        study, notes = quicker(study, paper)
    if asked.quick or any(setting.startswith(CHOOSES_NETWORK) for setting in asked.settings):
        # With another network in the place of the paper's, rows of ours would be the same run twice.
        own = [dict(cell.values) for cell in named_cells(study) if paper.is_own(cell.row)]
        study = study.model_copy(update={"skip": (*study.skip, *own)})
    cells, left_out = cells_of(study), dict[str, dict[str, str]]()
    for cell in cells:
        assert cell.recipe is not None
        values = dict(cell.values)
        lacking = [name for name in cell.recipe.data.tasks if name not in samples.table.columns]
        if asked.rows and not any(fnmatch(cell.row, pattern) for pattern in asked.rows):
            left_out[cell.row] = values
        elif lacking:
            left_out[cell.row] = values
            notes.append(f"Not run: {cell.row}. The pictures have no column {lacking[0]!r} to learn besides.")
    names = in_order([cell.row for cell in cells])
    strange = [row for row in asked.rows if not any(fnmatch(name, row) for name in names)]
    if strange or len(left_out) == len(names):
        left = "No row of the study is left to run." if len(left_out) == len(names) else ""
        why = f"There is no row {strange[0]!r}.{suggestion(strange[0], names)}" if strange else ""
        raise HandlensError(f"{left} {why} The rows are: {'; '.join(names)}.".strip())
    shorter = study.model_copy(update={"skip": (*study.skip, *left_out.values())})
    return shorter, list(dict.fromkeys(notes))


def quicker(study: StudySpec, paper: Paper) -> tuple[StudySpec, list[str]]:
    """The study with weights that everybody has, and what to say of networks in the place of others."""
    spec = paper.spec
    weights = {"model.weights": spec.quick_weights} if spec.quick_weights else {}
    differing = {
        kind: {
            axis: {name: {**settings, **spec.quick_networks.get(name, {})} for name, settings in each.items()}
            for axis, each in values.items()
        }
        for kind, values in (("axes", study.axes), ("ablate", study.ablate))
    }
    notes = [
        "Small pictures, few epochs, no weights but those in the package: to see how it goes, not to rely on."
    ]
    for name, settings in spec.quick_networks.items():
        same = (
            "the same without its fully connected layers" if "model.pool" in settings else "the same network"
        )
        network = settings.get("model.backbone", same)
        learned = settings.get("model.weights") == "bundled"
        weights_are = "the weights in the package" if learned else "random weights"
        notes.append(f"In the place of {name or 'the network'}: {network}, with {weights_are}.")
    return study.model_copy(update={"settings": {**study.settings, **weights}, **differing}), notes


def settings_for(paper: Paper, asked: Asked, group: GroupSpec | None) -> list[str]:
    """What is laid over every recipe: what makes it quick, what pictures came from, and the user's own."""
    settings = list(paper.spec.quick) if asked.quick else []
    # Expanded pictures carry their groups in their manifest.
    if group is not None and paper.spec.expand is None:
        values = group.model_dump(exclude_none=True)
        settings += [f"data.group.{key}={json.dumps(value)}" for key, value in values.items()]
    return [*settings, *asked.settings]


def tell(
    paper: Paper,
    studies: Mapping[ProtocolName, Study],
    asked: Asked,
    notes: Sequence[str],
    open_run: Callable[[Path], Trained],
    further: Sequence[Path] = (),
) -> Reproduced:
    """All tables, pages and sentences about studies that were run."""
    told, pages, costs = list(notes), list[Path](), dict[str, Cost]()
    session: Session | None = None
    rows: dict[ProtocolName, dict[str, RowRuns]] = {}
    for protocol, study in studies.items():
        groups = rows_of(study)
        told += reasons_of(study)
        # All protocols have the same networks, which are timed once.
        timed = asked.timed and not costs
        if len(groups) > 1:
            names = [group.name for group in groups]
            reference = paper.spec.compare_with if paper.spec.compare_with in names else "first"
            beside = rows_beside_each_other(study, to=reference, timed=timed)
            costs, session = {**beside.costs, **costs}, session or beside.session
            pages.append(asked.out / f"{protocol}.html")
            title = f"{paper.name}, {WORDS[protocol]}"
            write_page(replace(beside, costs=costs, session=session), pages[-1], asked.command, title)
        elif groups and not costs:
            costs, session, unknown = costs_of(groups, timed, threads=1)
            told += unknown
        rows[protocol] = {group.name: RowRuns(group.name, group, costs.get(group.name)) for group in groups}
    figures = compared(paper, rows)
    gaps = gaps_of(rows)
    told += [
        *of_the_limit(paper, costs),
        *of_generated(rows),
        *of_further_tasks(rows),
        *legend(list(studies)),
    ]
    told += own_rows(paper, [each.cell for each in figures])
    figures += compared_kinds(paper, rows)
    if paper.spec.heat_per_class and rows:
        pages += _grid(paper, next(iter(rows.values())), asked, open_run)
    pages += further
    done = Reproduced(
        paper,
        asked.out,
        studies,
        tuple(figures),
        tuple(gaps),
        _effects(studies),
        tuple(told),
        tuple(pages),
    )
    write_text(asked.out / TABLES, as_csv(figures))
    write_reproduced(done.page, paper, done.tables, done.notes, pages, asked.command)
    return done


def gaps_of(rows: Mapping[ProtocolName, Mapping[str, RowRuns]]) -> list[Gap]:
    """The leakage gap of every row that both protocols have."""
    leaking, sound = rows.get(AS_PAPER, {}), rows.get(HONEST, {})
    return [
        gap_of(
            name,
            leaking[name].on_test["accuracy"],
            sound[name].on_test["accuracy"],
            in_common(leaking[name].trainings, sound[name].trainings),
        )
        for name in sound
        if name in leaking
    ]


def _effects(studies: Mapping[ProtocolName, Study]) -> Table | None:
    """What the parts of the ablation are worth, by the first study that can tell."""
    for protocol, study in studies.items():
        if not study.spec.ablate:
            return None
        try:
            told = effects_of(study)
        except HandlensError:
            continue
        columns = ("part", "effect on accuracy", "95 % interval", "p, Holm", "verdict")
        title = f"What the parts are worth ({WORDS[protocol]})"
        return Table(title, columns, tuple(each.words for each in told.effects))
    return None


def _grid(
    paper: Paper, rows: Mapping[str, RowRuns], asked: Asked, open_run: Callable[[Path], Trained]
) -> list[Path]:
    """The paper's grid of maps: pictures down, networks across."""
    runs = [open_run(row.group.runs[0].path) for row in rows.values()]
    if not runs:
        return []
    chosen = choose(runs[0], (), mistakes=False, per_class=paper.spec.heat_per_class)
    spec = ExplainSpec(checked=0)
    return [explain(runs, chosen, asked.out / "maps", spec, asked.command).page]
