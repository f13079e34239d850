"""How long something lasts, as a person writes it: a share of the run, epochs or steps."""

import re
from dataclasses import dataclass
from typing import Any, ClassVar, Literal, Self

from pydantic import GetCoreSchemaHandler, GetJsonSchemaHandler
from pydantic.json_schema import JsonSchemaValue
from pydantic_core import CoreSchema, core_schema

WAYS = "a share of the run like 0.1 or 10%, or '2 epochs', or '500 steps'"


@dataclass(frozen=True)
class Duration:
    """A part of a run; in a recipe `0.1`, `10%`, `2 epochs` or `500 steps`."""

    amount: float
    unit: Literal["share", "epochs", "steps"] = "share"

    PATTERN: ClassVar[str] = r"^(\d+\.?\d*(?:[eE][-+]?\d+)?) ?(%|epochs?|steps?)$"

    @classmethod
    def of(cls, value: Any) -> Self:
        """From what stands in a recipe."""
        if isinstance(value, cls):
            return value
        if isinstance(value, int | float) and not isinstance(value, bool):
            return cls._share(value)
        match = re.match(cls.PATTERN, value.strip()) if isinstance(value, str) else None
        if match is None:
            raise ValueError(f"write {WAYS}")
        amount, unit = float(match[1]), match[2].rstrip("s")
        if unit == "epoch":
            return cls(amount, "epochs")
        if unit == "%":
            if amount > 100:
                raise ValueError("a share of the run is at most 100%")
            return cls(amount / 100)
        if not amount.is_integer():
            raise ValueError("steps are counted in whole numbers")
        return cls(amount, "steps")

    @classmethod
    def _share(cls, number: float) -> Self:
        if 0 <= number < 1:
            return cls(float(number))
        # Whoever writes 5 means epochs or steps; guessing which would change the run.
        raise ValueError(f"a bare number is a share of the run, below 1: write {WAYS}")

    def written(self) -> float | str:
        """As it stands in a recipe; reading that gives the same duration."""
        if self.unit == "share":
            return self.amount if self.amount < 1 else "100%"
        return f"{int(self.amount) if self.amount.is_integer() else self.amount} {self.unit}"

    def as_share(self, total_steps: int, steps_per_epoch: int) -> float:
        """As a share of a run, above 1 where it is longer than that."""
        if self.unit == "share":
            return self.amount
        return self.amount * (steps_per_epoch if self.unit == "epochs" else 1) / total_steps

    def __str__(self) -> str:
        return f"{100 * self.amount:g}%" if self.unit == "share" else str(self.written())

    @classmethod
    def __get_pydantic_core_schema__(cls, source: Any, handler: GetCoreSchemaHandler) -> CoreSchema:
        return core_schema.no_info_plain_validator_function(
            cls.of, serialization=core_schema.plain_serializer_function_ser_schema(cls.written)
        )

    @classmethod
    def __get_pydantic_json_schema__(
        cls, schema: CoreSchema, handler: GetJsonSchemaHandler
    ) -> JsonSchemaValue:
        return {
            "anyOf": [
                {"type": "number", "minimum": 0, "exclusiveMaximum": 1},
                {"type": "string", "pattern": cls.PATTERN},
            ]
        }
