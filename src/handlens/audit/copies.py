"""Copies as findings: what is there more than once, and what follows for groups and labels."""

from collections import Counter
from collections.abc import Iterator, Sequence, Set
from itertools import islice

from handlens.audit.finding import Finding, Row, Subject
from handlens.data.copies import Cluster, Copies, DividedCopies, Member, divided, grouped
from handlens.data.orientations import WORDS

CHECK = "copies"

MOST_BESIDE = 3
"""Of many copies the first few are shown beside each."""


def copies(subject: Subject, found: Copies) -> list[Finding]:
    """What there is to say of the copies among these pictures; rows of `found` are rows of the samples."""
    findings = [*_under_several_labels(subject, found), *_of_several_groups(subject, found)]
    findings += _of_one_group(subject, found)
    if found.notes:
        told = " ".join(found.notes)
        findings.append(Finding(CHECK, "note", "Not everything could be compared", told))
    return findings


def _under_several_labels(subject: Subject, found: Copies) -> Iterator[Finding]:
    """One label at most is right; where most of the copies agree, theirs is the likelier one.

    Where they don't and the pictures are the same, nobody can learn from either: both are to be dropped.
    """
    exact = divided(subject.samples, found.identical)
    same = {name for each in exact for name in each.ids}
    wrong = divided(subject.samples, found.clusters)
    # A near copy beside them makes the very same pictures no less grave, but it has a vote.
    grave = [each for each in wrong if not same.isdisjoint(each.ids)]
    near = [each for each in wrong if same.isdisjoint(each.ids)]
    if exact:
        title = f"The same picture stands under different labels{_times(exact)}"
        yield Finding(CHECK, "must", title, _told(exact), _contradicting(grave, same))
    if near:
        title = f"Nearly the same picture stands under different labels{_times(near)}"
        yield Finding(CHECK, "should", title, _told(near), _contradicting(near, same))


def _told(wrong: Sequence[DividedCopies]) -> str:
    return " ".join(["No model can be right on both.", *(each.sentence() for each in wrong[:3])])


def _contradicting(wrong: Sequence[DividedCopies], same: Set[str]) -> tuple[Row, ...]:
    return tuple(row for each in wrong for row in _proposed(each, same))


def _proposed(each: DividedCopies, same: Set[str]) -> Iterator[Row]:
    """What is to become of contradicting copies; those in `same` contradict the very same picture."""
    votes = Counter(each.values).most_common()
    most = votes[0][0] if votes[0][1] > votes[1][1] else None
    for name, label in zip(each.ids, each.values, strict=True):
        others = _others(name, each.ids)
        if most is None and name in same:
            yield Row(name, "drop", beside=others, why=f"labelled {label}, the same picture is not")
        elif most is None or label == most:
            yield Row(name, beside=others, why=f"labelled {label}, a copy is not")
        else:
            yield Row(name, "relabel?", most, others, why=f"labelled {label}, most of its copies are {most}")


def _of_several_groups(subject: Subject, found: Copies) -> Iterator[Finding]:
    """Copies that a split may tear apart."""
    groups = subject.samples.table["group"].to_list()
    torn = [each for each in found.clusters if len({groups[row] for row in each.rows}) > 1]
    if not torn:
        return
    # Clusters that share a group have one name in the end.
    joined = grouped(subject.samples, torn).table["group"].to_list()
    rows = tuple(row for each in torn for row in _rows(subject, each, joined))
    count = sum(len(each.rows) for each in torn)
    yield Finding(
        CHECK,
        "should",
        f"{count} pictures are copies of each other, but not in one group",
        "Nothing keeps them on one side of a split: what is learned by heart would be judged. "
        f"{_examples(subject, torn)}",
        rows,
    )


def _of_one_group(subject: Subject, found: Copies) -> Iterator[Finding]:
    """Copies that cannot leak, but count more than once."""
    groups = subject.samples.table["group"].to_list()
    whole = [each for each in found.clusters if len({groups[row] for row in each.rows}) == 1]
    if not whole:
        return
    again = sum(len(each.rows) - 1 for each in whole)
    yield Finding(
        CHECK,
        "note",
        f"{again} {'picture is' if again == 1 else 'pictures are'} there again, in the same group",
        f"They cannot leak, and teach nothing new. {_examples(subject, whole)}",
        tuple(row for each in whole for row in _rows(subject, each, None)),
    )


def _rows(subject: Subject, cluster: Cluster, joined: Sequence[str] | None) -> Iterator[Row]:
    names = subject.samples.table["id"].gather(list(cluster.rows)).to_list()
    for name, member in zip(names, cluster.members, strict=True):
        is_first = member.row == cluster.rows[0]
        yield Row(
            name,
            "group together" if joined else "",
            joined[member.row] if joined else "",
            _others(name, names),
            figure=cluster.similarity if is_first else member.similarity,
            why="is there again" if is_first else f"{names[0]} again: {_how(member)}",
        )


def _how(member: Member) -> str:
    if member.kind != "near":
        return "the same file" if member.kind == "bytes" else "the same pixels in another file"
    turned = "" if member.orientation == 1 else f", {WORDS[member.orientation]}"
    return f"nearly the same picture{turned}"


def _others(name: str, names: Sequence[str]) -> tuple[str, ...]:
    return tuple(islice((other for other in names if other != name), MOST_BESIDE))


def _examples(subject: Subject, clusters: Sequence[Cluster]) -> str:
    names = subject.samples.table["id"].to_list()
    return " ".join(each.sentence(names) for each in clusters[:3])


def _times(of: Sequence[object]) -> str:
    return f", {len(of)} times" if len(of) > 1 else ""
