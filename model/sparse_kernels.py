"""Compiled loops over the connections that a sparse network has: the work of `sparse.py`.

Maps are float32 `[blocks, channels, plane]`: a block is `lanes` images side by side, and a plane is
`[height + 2 border, width + 2 border, lanes]`. So what one weight adds to a row of a map is one long product with a row
of another map. Each kernel works on the blocks `first:last`, so that several threads can share them; sums are stored
per block. `scratch` is `[blocks, scratched(...)]`.

Lines are slices that small functions take: only then LLVM sees that they neither overlap nor wrap around.
"""

from __future__ import annotations

import numpy as np

from ..compiled import kernel

SUMMED = {"reassoc", "contract", "nsz", "arcp"}  # so that sums are computed in several parts at once
TOGETHER = 8  # weights whose products are added in one pass
LINE = 2560  # floats of the rows that are summed together: 10 KB


@kernel(borrows=True)
def _rows(height, row):
    """Rows of so many floats that are summed together."""
    return min(height, max(1, LINE // row))


def scratched(height: int, width: int, lanes: int, border: int) -> int:
    """Floats that a thread needs beside the maps."""
    row = (width + 2 * border) * lanes
    return int(_rows(height, row)) * row


@kernel(borrows=True, error_model="numpy", fastmath=SUMMED)
def convolve(first, last, x, y, scratch, starts, offsets, weights, height, width, lanes, border, outer):
    """`y[b, o]` is the sum of `weights[k] * x[b]` from `offsets[k]` on, for `k` in `starts[o]:starts[o + 1]`.

    `x`, here `[blocks, channels * plane]`, has a border of `border`, and `y`, of which the inner part is filled, of
    `outer`. `offsets` tell for each weight where it starts in a block of `x`: its channel, row and column.
    """
    row, far = (width + 2 * border) * lanes, (width + 2 * outer) * lanes
    wide = width * lanes
    rows = _rows(height, row)
    for b in range(first, last):
        block = x[b]
        total = scratch[b]
        for top in range(0, height, rows):
            count = min(rows, height - top)
            used = count * row - 2 * border * lanes
            seen = block[top * row :]
            line = total[:used]
            for o in range(y.shape[1]):
                line[:] = 0
                k, end = starts[o], starts[o + 1]
                while k + TOGETHER <= end:
                    _add_eight(line, seen, offsets[k : k + TOGETHER], weights[k : k + TOGETHER])
                    k += TOGETHER
                while k < end:
                    _add(line, seen[offsets[k] : offsets[k] + used], weights[k])
                    k += 1
                out = y[b, o]
                for i in range(count):
                    at = (top + i + outer) * far + outer * lanes
                    _copy(out[at : at + wide], total[i * row : i * row + wide])


@kernel(borrows=True, error_model="numpy", fastmath=SUMMED)
def _add_eight(line, x, at, w):
    n = len(line)
    _eight(
        line,
        x[at[0] : at[0] + n],
        x[at[1] : at[1] + n],
        x[at[2] : at[2] + n],
        x[at[3] : at[3] + n],
        x[at[4] : at[4] + n],
        x[at[5] : at[5] + n],
        x[at[6] : at[6] + n],
        x[at[7] : at[7] + n],
        w,
    )


@kernel(borrows=True, error_model="numpy", fastmath=SUMMED)
def _eight(line, a, b, c, d, e, f, g, h, w):
    w0, w1, w2, w3, w4, w5, w6, w7 = w[0], w[1], w[2], w[3], w[4], w[5], w[6], w[7]
    for i in range(len(line)):
        near = (w0 * a[i] + w1 * b[i]) + (w2 * c[i] + w3 * d[i])
        line[i] += near + ((w4 * e[i] + w5 * f[i]) + (w6 * g[i] + w7 * h[i]))


@kernel(borrows=True)
def _copy(out, x):
    for i in range(len(out)):
        out[i] = x[i]


@kernel(borrows=True, error_model="numpy", fastmath=SUMMED)
def _add(line, x, w):
    for i in range(len(line)):
        line[i] += w * x[i]


@kernel(borrows=True, error_model="numpy", fastmath=SUMMED)
def weight_gradients(first, last, x, d, starts, offsets, found, height, width, lanes, border):
    """`found[b, k]`: the sum over a block of what weight `k` saw, in `x`, times the gradient of its sum, in `d`.

    Both have a border of `border`; that of `d` is 0. `x` is `[blocks, channels * plane]`.
    """
    row = (width + 2 * border) * lanes
    rows = _rows(height, row)
    for b in range(first, last):
        block = x[b]
        sums = found[b]
        sums[:] = 0
        for top in range(0, height, rows):
            used = min(rows, height - top) * row - 2 * border * lanes
            seen = block[top * row :]
            begin = (top + border) * row + border * lanes
            for o in range(d.shape[1]):
                line = d[b, o][begin : begin + used]
                k, end = starts[o], starts[o + 1]
                while k + 4 <= end:
                    a, c, e, g = offsets[k], offsets[k + 1], offsets[k + 2], offsets[k + 3]
                    four = _dot_four(
                        line, seen[a : a + used], seen[c : c + used], seen[e : e + used], seen[g : g + used]
                    )
                    sums[k] += four[0]
                    sums[k + 1] += four[1]
                    sums[k + 2] += four[2]
                    sums[k + 3] += four[3]
                    k += 4
                while k < end:
                    sums[k] += _dot(line, seen[offsets[k] : offsets[k] + used])
                    k += 1


@kernel(borrows=True, error_model="numpy", fastmath=SUMMED)
def _dot_four(line, a, b, c, d):
    zero = np.float32(0)
    s, t, u, v = zero, zero, zero, zero
    for i in range(len(line)):
        x = line[i]
        s += x * a[i]
        t += x * b[i]
        u += x * c[i]
        v += x * d[i]
    return s, t, u, v


@kernel(borrows=True, error_model="numpy", fastmath=SUMMED)
def _dot(line, x):
    total = np.float32(0)
    for i in range(len(line)):
        total += line[i] * x[i]
    return total


@kernel(borrows=True, error_model="numpy", fastmath=SUMMED)
def moments(first, last, y, base, sums):
    """`sums[b, c]`, float64: of `y[b, c] - base[c]` and of its square; `y` has no border."""
    for b in range(first, last):
        for c in range(y.shape[1]):
            sums[b, c, 0], sums[b, c, 1] = _moments(y[b, c], base[c])


@kernel(borrows=True, error_model="numpy", fastmath=SUMMED)
def _moments(line, base):
    total, squares = np.float32(0), np.float32(0)
    for i in range(len(line)):
        over = line[i] - base
        total += over
        squares += over * over
    return total, squares


@kernel(borrows=True, error_model="numpy", fastmath=SUMMED)
def activate(first, last, y, x, scratch, slope, start, levels, unit, height, width, lanes, size, border):
    """`unit * clip(floor(slope * y + start), 0, levels)`, averaged over windows of `size`, into `x` and its border.

    `y` has no border. `slope` and `start` are `[channels]`. Rows and columns of incomplete windows are dropped.
    """
    wide = width * lanes
    down, across = height // size, width // size
    row = (across + 2 * border) * lanes
    worth = np.float32(unit / (size * size))
    top = np.float32(levels)
    for b in range(first, last):
        for c in range(y.shape[1]):
            source, out, line = y[b, c], x[b, c], scratch[b, :wide]
            out[: border * row] = 0
            out[(down + border) * row :] = 0
            for i in range(down):
                line[:] = 0
                for j in range(size * i, size * (i + 1)):
                    _levels(line, source[j * wide : (j + 1) * wide], slope[c], start[c], top)
                at = (i + border) * row
                edge = border * lanes
                out[at : at + edge] = 0
                out[at + row - edge : at + row] = 0
                _pool(out[at + edge : at + row - edge], line, size, lanes, worth)


@kernel(borrows=True, error_model="numpy", fastmath=SUMMED)
def _levels(line, x, slope, start, top):
    zero = np.float32(0)
    for i in range(len(line)):
        z = slope * x[i] + start
        z = z if z > zero else zero
        z = z if z < top else top
        line[i] += np.float32(np.int32(z))


@kernel(borrows=True, error_model="numpy", fastmath=SUMMED)
def _pool(out, line, size, lanes, worth):
    """Sums of `size` places of a line, times `worth`."""
    if size == 1:
        _scaled(out, line, worth)
        return
    for place in range(len(out) // lanes):
        to = out[place * lanes : (place + 1) * lanes]
        to[:] = 0
        for k in range(place * size, (place + 1) * size):
            _add(to, line[k * lanes : (k + 1) * lanes], worth)


@kernel(borrows=True, error_model="numpy", fastmath=SUMMED)
def _scaled(out, x, by):
    for i in range(len(out)):
        out[i] = by * x[i]


@kernel(borrows=True, error_model="numpy", fastmath=SUMMED)
def _unpool(line, d, size, lanes, worth):
    """What a line of pooled gradients gives each place of a line; 0 beyond the last window."""
    if size == 1:
        _scaled(line, d, worth)
        return
    line[:] = 0
    for place in range(len(d) // lanes):
        part = d[place * lanes : (place + 1) * lanes]
        for k in range(place * size, (place + 1) * size):
            _scaled(line[k * lanes : (k + 1) * lanes], part, worth)


@kernel(borrows=True, error_model="numpy", fastmath=SUMMED)
def activation_sums(first, last, y, d, scratch, slope, start, levels, height, width, lanes, size, border, sums):
    """`sums[b, c]`, float64, from `d`, the gradient of what `activate` has written, which has its border.

    With `g`, the gradient of `slope * y + start` over `slope`: the sums of `g`, of `g * y`, and of the gradient of the
    threshold times `levels`.
    """
    wide = width * lanes
    down, across = height // size, width // size
    row, edge = (across + 2 * border) * lanes, border * lanes
    worth = np.float32(1 / (size * size))
    top = np.float32(levels)
    for b in range(first, last):
        for c in range(y.shape[1]):
            source, given, line = y[b, c], d[b, c], scratch[b, :wide]
            total, products, threshold = 0.0, 0.0, 0.0
            for i in range(down):
                at = (i + border) * row
                _unpool(line, given[at + edge : at + row - edge], size, lanes, worth)
                for j in range(size * i, size * (i + 1)):
                    found = _sums(line, source[j * wide : (j + 1) * wide], slope[c], start[c], top)
                    total += found[0]
                    products += found[1]
                    threshold += found[2]
            sums[b, c, 0], sums[b, c, 1], sums[b, c, 2] = total, products, threshold


@kernel(borrows=True, error_model="numpy", fastmath=SUMMED)
def _sums(line, y, slope, start, top):
    zero, one, half = np.float32(0), np.float32(1), np.float32(0.5)
    total, products, threshold = zero, zero, zero
    for i in range(len(line)):
        z = slope * y[i] + start
        inside = (z >= zero) & (z < top + one)
        g = line[i] if inside else zero
        level = z if z > zero else zero
        level = level if level < top else top
        total += g
        products += g * y[i]
        threshold += line[i] * np.float32(np.int32(level)) - g * (z - half)
    return total, products, threshold


@kernel(borrows=True, error_model="numpy", fastmath=SUMMED)
def activation_gradient(
    first, last, y, d, to, scratch, slope, start, levels, factors, height, width, lanes, size, border, outer
):
    """The gradient of `y` into `to`, which gets a border of `outer` zeros: `f[0] * g + f[1] * y + f[2]`.

    `g` as in `activation_sums`; `f` is `factors[channel]`.
    """
    wide = width * lanes
    down, across = height // size, width // size
    row, edge = (across + 2 * border) * lanes, border * lanes
    far, rim = (width + 2 * outer) * lanes, outer * lanes
    worth = np.float32(1 / (size * size))
    top = np.float32(levels)
    for b in range(first, last):
        for c in range(y.shape[1]):
            source, given, out, line = y[b, c], d[b, c], to[b, c], scratch[b, :wide]
            out[: outer * far] = 0
            out[(height + outer) * far :] = 0
            for j in range(height):
                if j >= down * size:
                    line[:] = 0
                elif j % size == 0:
                    at = (j // size + border) * row
                    _unpool(line, given[at + edge : at + row - edge], size, lanes, worth)
                at = (j + outer) * far
                out[at : at + rim] = 0
                out[at + far - rim : at + far] = 0
                inner = out[at + rim : at + far - rim]
                _gradient(inner, line, source[j * wide : (j + 1) * wide], slope[c], start[c], top, factors[c])


@kernel(borrows=True, error_model="numpy", fastmath=SUMMED)
def _gradient(out, line, y, slope, start, top, f):
    zero, one = np.float32(0), np.float32(1)
    f0, f1, f2 = f[0], f[1], f[2]
    for i in range(len(out)):
        z = slope * y[i] + start
        g = line[i] if (z >= zero) & (z < top + one) else zero
        out[i] = f0 * g + f1 * y[i] + f2
