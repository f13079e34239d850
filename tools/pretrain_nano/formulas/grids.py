"""What the formulas draw on: coordinates, noise of any spectrum, tables of cells, and piles of things."""

import math

import torch
from torch import Tensor

NUM_CELLS = 1024
"""Tables of cells hold so many; a power of two, so that wrapping is a bit mask."""

TABLE_SIDE = 37
"""How many entries on the next row's cell stands. Tables wrap like a thread on a spool: beyond a row's end
the next begins, so that a neighbour is always equally many entries away. With this number no cell comes
again within 30 of its own width."""

MARGIN = TABLE_SIDE + 1
"""How many entries of a table are repeated at its ends, for the neighbours of its first and last."""

NUM_TINTS = 64
"""How many tints the things of a pile may have."""

NUM_SOFT_WAVES = 16


def coordinates(size: int, device: torch.device) -> tuple[Tensor, Tensor]:
    """How far down and how far right every pixel lies, 0 to 1, each as (size, size)."""
    along = (torch.arange(size, device=device, dtype=torch.float32) + 0.5) / size
    y, x = torch.meshgrid(along, along, indexing="ij")
    return y, x


def turned(size: int, angle: Tensor) -> tuple[Tensor, Tensor]:
    """Coordinates about the middle, turned by angles (n, 1, 1): along and across, each (n, size, size)."""
    x = (torch.arange(size, device=angle.device, dtype=torch.float32) + 0.5) / size - 0.5
    y = x[:, None]
    cos, sin = angle.cos(), angle.sin()
    return x * cos + y * sin, y * cos - x * sin


def any_of(n: int, low: float, high: float, chance: torch.Generator) -> Tensor:
    """Even chances between two numbers, as (n, 1, 1) on the chance's device."""
    return torch.rand(n, 1, 1, generator=chance, device=chance.device) * (high - low) + low


def frequencies(size: int, device: torch.device) -> tuple[Tensor, Tensor]:
    """The waves to the side of a real picture's spectrum, as (size, 1) and (1, size // 2 + 1)."""
    down = torch.fft.fftfreq(size, 1 / size, device=device)
    right = torch.fft.rfftfreq(size, 1 / size, device=device)
    return down[:, None], right[None, :]


def shaped_noise(amplitude: Tensor, size: int, chance: torch.Generator) -> Tensor:
    """Noise of random phases whose waves have these amplitudes, of mean 0 and spread 1.

    Amplitudes are (n, size, size // 2 + 1) in the order of `frequencies`; the noise is (n, size, size).
    """
    parts = torch.randn(*amplitude.shape, 2, generator=chance, device=amplitude.device)
    return _standard(torch.fft.irfft2(torch.view_as_complex(parts) * amplitude, s=(size, size)))


def spectral_noise(slope: Tensor, size: int, chance: torch.Generator) -> Tensor:
    """Noise (n, size, size) of mean 0 and spread 1 whose power falls as frequency to the minus slope (n,).

    A slope of 0 is white noise, 2 is rough, 4 is smooth hills.
    """
    down, right = frequencies(size, slope.device)
    power_of = (down**2 + right**2).clamp_min(1.0).log()
    return shaped_noise(torch.exp(-0.25 * slope.view(-1, 1, 1) * power_of), size, chance)


def soft_noise(waves: Tensor, size: int, chance: torch.Generator) -> Tensor:
    """Smooth noise (n, size, size) of mean 0 and spread 1 with about this many waves (n,) to the side.

    Good for up to eight waves, and ten times quicker than a whole spectrum: it is a sum of few waves,
    whose common period is longer than the picture so that opposite sides differ.
    """
    period = 1.25
    # A row for the even and one for the odd wave of each frequency.
    number = torch.arange(2 * NUM_SOFT_WAVES - 1, device=waves.device)
    frequency = ((number + 1) // 2) / period
    along = (torch.arange(size, device=waves.device, dtype=torch.float32) + 0.5) / size
    quarter = (number % 2) * (math.pi / 2)
    basis = torch.cos(2 * math.pi * along[:, None] * frequency + quarter)
    square = frequency[:, None] ** 2 + frequency**2
    amplitude = torch.exp(-square / waves.view(-1, 1, 1) ** 2)
    parts = torch.randn(amplitude.shape, generator=chance, device=waves.device)
    return _standard(basis @ (parts * amplitude) @ basis.T)


def tables(count: int, n: int, chance: torch.Generator) -> tuple[Tensor, ...]:
    """So many tables with a number in 0 to 1 for every cell, each as (n, cells)."""
    # Random numbers are what costs most here, and the digits of one are good for two.
    drawn = torch.rand((count + 1) // 2, n, NUM_CELLS, generator=chance, device=chance.device) * 4096
    first = drawn.floor()
    return torch.cat([first / 4096, drawn - first]).unbind()[:count]


def wrapped(whole: Tensor, count: int) -> Tensor:
    """Whole numbers given as floats, as indices under a count that is a power of two."""
    # By way of 32 bits, which processors are quicker at.
    return (whole.int() & (count - 1)).long()


def cell_index(row: Tensor, column: Tensor) -> Tensor:
    """Where the cells of these whole numbers, given as floats, stand in a table."""
    return wrapped(torch.add(column, row, alpha=TABLE_SIDE), NUM_CELLS)


def with_margin(values: Tensor) -> Tensor:
    """The table with its ends repeated, as `neighbour` needs it."""
    return torch.cat([values[:, -MARGIN:], values, values[:, :MARGIN]], 1)


def look_up(values: Tensor, index: Tensor) -> Tensor:
    """The table's number at every pixel: (n, cells) at (n, size, size)."""
    return values.gather(1, index.flatten(1)).view(index.shape)


def neighbour(values: Tensor, index: Tensor, rows: int, columns: int) -> Tensor:
    """As `look_up`, of the cell so many rows and columns away (one at most), in a table with a margin.

    The table is shifted, not the index, which is as large as the picture.
    """
    return look_up(values[:, MARGIN + rows * TABLE_SIDE + columns :], index)


def smooth_step(ramp: Tensor) -> Tensor:
    """A ramp from 0 to 1 with rounded ends."""
    ramp = ramp.clamp(0, 1)
    return ramp * ramp * (3 - 2 * ramp)


def soft_limit(noise: Tensor) -> Tensor:
    """Noise of mean 0 and spread 1 brought into 0 to 1 without cutting it off."""
    return torch.sigmoid(1.7 * noise)


def empty_pile(n: int, size: int, device: torch.device) -> Tensor:
    """The ground of height 0 on which things are laid."""
    return torch.zeros(n, size, size, dtype=torch.int32, device=device)


def kinds(lift: Tensor, tint: Tensor) -> Tensor:
    """A table of how high things lie and of their tint, both in 0 to 1, for `lay`."""
    number = (tint * NUM_TINTS).int().clamp(0, NUM_TINTS - 1)
    return (lift.view(torch.int32) & -NUM_TINTS) | number


def lay(pile: Tensor, inside: Tensor, rise: Tensor, kind: Tensor) -> Tensor:
    """Put things on the pile, which show where they are higher than all before.

    Inside is 1 in a thing's middle, 0 at its rim and less beyond; it rises so much above its lift. Both
    the pile and inside are written over.

    The tint rides in the last bits of the height: floats above 0 sort as their bits do, so that one
    maximum finds the highest and its tint, many times quicker than a choice.
    """
    height = torch.addcmul(kind.view(torch.float32), inside, rise)
    # A short steep rim; beyond it the height is below 0, which is below the ground.
    height = torch.minimum(height, inside.mul_(4))
    key = height.view(torch.int32).bitwise_and_(-NUM_TINTS).bitwise_or_(kind & (NUM_TINTS - 1))
    return torch.maximum(pile, key, out=pile)


def seen_from_above(pile: Tensor) -> tuple[Tensor, Tensor]:
    """The pile's height, and the tint of what lies on top in 0 to 1."""
    height = (pile & -NUM_TINTS).view(torch.float32)
    return height, (pile & (NUM_TINTS - 1)).float() / (NUM_TINTS - 1)


def _standard(field: Tensor) -> Tensor:
    field = field - field.mean((-2, -1), keepdim=True)
    return field / field.square().mean((-2, -1), keepdim=True).sqrt().clamp_min(1e-12)
