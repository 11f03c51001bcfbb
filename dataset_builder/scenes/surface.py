"""Closed triangle meshes from implicit shapes: the bodies, clothes and props of the rendered clips.

A shape is an array of primitives, one row each, combined in order by smooth union, subtraction or intersection
(signed distance fields; the smooth minimum is the polynomial one of I. Quilez). A mesh is the zero level of that
field by surface nets (Gibson 1998), each vertex then moved onto the level by Newton steps.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numba import njit
from numpy.typing import ArrayLike, NDArray

ROW = 16
UNION, SUBTRACT, INTERSECT = 0.0, 1.0, 2.0
_CONE, _ELLIPSOID, _BOX, _PLANE = 0.0, 1.0, 2.0, 3.0


@dataclass(frozen=True)
class Mesh:
    """Mesh in the rest pose: ``vertices`` (N, 3) m, ``normals`` (N, 3), ``faces`` (F, 3) outward, ``occlusion`` (N,).

    ``occlusion`` is 1 in the open and falls to 0 in folds (armpit, chin), from the field itself.
    """

    vertices: NDArray[np.float32]
    normals: NDArray[np.float32]
    faces: NDArray[np.int32]
    occlusion: NDArray[np.float32]


def _row(kind: float, op: float, blend: float, *values: ArrayLike) -> NDArray[np.float32]:
    flat = np.concatenate([np.atleast_1d(np.asarray(value, np.float32)) for value in values])
    return np.concatenate([np.asarray([kind, op, blend], np.float32), flat, np.zeros(ROW - 3 - flat.size, np.float32)])


def cone(
    a: ArrayLike, b: ArrayLike, ra: float, rb: float, depth: float = 1.0, blend: float = 0.02, op: float = UNION
) -> NDArray[np.float32]:
    """Round cone from ``a`` (radius ``ra``) to ``b`` (``rb``), metres; ``depth`` scales its extent along z."""
    return _row(_CONE, op, blend, a, b, ra, rb, depth)


def ellipsoid(
    centre: ArrayLike, radii: ArrayLike, pitch: float = 0.0, blend: float = 0.02, op: float = UNION
) -> NDArray[np.float32]:
    """Ellipsoid with semi-axes ``radii`` in metres, turned by ``pitch`` radians about x."""
    return _row(_ELLIPSOID, op, blend, centre, radii, np.cos(pitch), np.sin(pitch))


def box(
    centre: ArrayLike, half: ArrayLike, radius: float = 0.005, pitch: float = 0.0, blend: float = 0.0, op: float = UNION
) -> NDArray[np.float32]:
    """Box of half sizes ``half`` in metres with rounded edges, turned by ``pitch`` radians about x."""
    return _row(_BOX, op, blend, centre, half, radius, np.cos(pitch), np.sin(pitch))


def plane(normal: ArrayLike, offset: float, blend: float = 0.0, op: float = INTERSECT) -> NDArray[np.float32]:
    """Half space ``normal . p < offset``; ``normal`` has unit length."""
    return _row(_PLANE, op, blend, normal, offset)


@njit(cache=True)
def _distance(rows, x, y, z):
    total = np.float32(1e3)
    for i in range(rows.shape[0]):
        row = rows[i]
        if row[0] == 0.0:
            bx, by, bz = row[6] - row[3], row[7] - row[4], row[8] - row[5]
            px, py, pz = x - row[3], y - row[4], z - row[5]
            t = (px * bx + py * by + pz * bz) / (bx * bx + by * by + bz * bz + np.float32(1e-12))
            t = min(max(t, np.float32(0.0)), np.float32(1.0))
            dx, dy, dz = px - t * bx, py - t * by, (pz - t * bz) / row[11]
            d = np.sqrt(dx * dx + dy * dy + dz * dz) - (row[9] + t * (row[10] - row[9]))
            if row[11] < 1.0:
                d *= row[11]
        elif row[0] == 1.0:
            px, py, pz = x - row[3], y - row[4], z - row[5]
            py, pz = row[9] * py + row[10] * pz, row[9] * pz - row[10] * py
            ax, ay, az = px / row[6], py / row[7], pz / row[8]
            k0 = np.sqrt(ax * ax + ay * ay + az * az)
            ax, ay, az = ax / row[6], ay / row[7], az / row[8]
            d = k0 * (k0 - np.float32(1.0)) / (np.sqrt(ax * ax + ay * ay + az * az) + np.float32(1e-6))
        elif row[0] == 2.0:
            px, py, pz = x - row[3], y - row[4], z - row[5]
            py, pz = row[10] * py + row[11] * pz, row[10] * pz - row[11] * py
            qx, qy, qz = abs(px) - row[6] + row[9], abs(py) - row[7] + row[9], abs(pz) - row[8] + row[9]
            ox, oy, oz = max(qx, np.float32(0.0)), max(qy, np.float32(0.0)), max(qz, np.float32(0.0))
            d = np.sqrt(ox * ox + oy * oy + oz * oz) + min(max(qx, max(qy, qz)), np.float32(0.0)) - row[9]
        else:
            d = row[3] * x + row[4] * y + row[5] * z - row[6]
        k = max(row[2], np.float32(1e-6))
        if row[1] == 0.0:
            h = max(k - abs(total - d), np.float32(0.0)) / k
            total = min(total, d) - h * h * k * np.float32(0.25)
        else:
            if row[1] == 1.0:
                d = -d
            h = max(k - abs(total - d), np.float32(0.0)) / k
            total = max(total, d) + h * h * k * np.float32(0.25)
    return total


@njit(cache=True)
def _sample(rows, points, out):
    for i in range(points.shape[0]):
        out[i] = _distance(rows, points[i, 0], points[i, 1], points[i, 2])


def field(rows: NDArray[np.float32], points: NDArray[np.float32]) -> NDArray[np.float32]:
    """Signed distance in metres (negative inside) of the shape ``rows`` (P, 16) at ``points`` (N, 3)."""
    out = np.empty(len(points), np.float32)
    _sample(rows, np.ascontiguousarray(points, np.float32), out)
    return out


def _gradient(rows: NDArray[np.float32], points: NDArray[np.float32], step_m: float) -> NDArray[np.float32]:
    shifts = np.eye(3, dtype=np.float32) * np.float32(step_m)
    return np.stack([field(rows, points + s) - field(rows, points - s) for s in shifts], axis=1) / np.float32(
        2 * step_m
    )


_CORNERS = np.array([[i, j, k] for i in (0, 1) for j in (0, 1) for k in (0, 1)])
_EDGES = [(a, b) for a in range(8) for b in range(a + 1, 8) if np.abs(_CORNERS[a] - _CORNERS[b]).sum() == 1]


def build_mesh(
    primitives: list[NDArray[np.float32]], low: ArrayLike, high: ArrayLike, step_m: float, fold_m: float = 0.05
) -> Mesh:
    """Mesh of the shape within the box ``low``..``high`` (metres), on a grid of ``step_m``.

    ``fold_m`` is the distance over which nearby surface darkens a vertex. Raises ValueError when the shape does not
    cross the grid.
    """
    rows = np.stack(primitives).astype(np.float32)
    low_m, high_m = np.asarray(low, np.float32), np.asarray(high, np.float32)
    shape = np.ceil((high_m - low_m) / step_m).astype(int) + 1
    axes = [low_m[i] + np.float32(step_m) * np.arange(shape[i], dtype=np.float32) for i in range(3)]
    grid = np.stack(np.meshgrid(*axes, indexing="ij"), axis=-1).reshape(-1, 3)
    values = field(rows, grid).reshape(shape)
    inside = values < 0
    corner_inside = np.stack([inside[_window(c, shape)] for c in _CORNERS])
    active = corner_inside.any(axis=0) & ~corner_inside.all(axis=0)
    if not active.any():
        raise ValueError(f"primitives: no surface within {low_m.tolist()}..{high_m.tolist()}")
    number = np.full(active.shape, -1, np.int64)
    number[active] = np.arange(active.sum())
    cells = np.argwhere(active)
    corner_values = np.stack([values[tuple((cells + c).T)] for c in _CORNERS], axis=1)
    sums, counts = np.zeros((len(cells), 3)), np.zeros((len(cells), 1))
    for a, b in _EDGES:
        fa, fb = corner_values[:, a], corner_values[:, b]
        crosses = (fa < 0) != (fb < 0)
        t = np.where(crosses, fa / np.where(crosses, fa - fb, 1.0), 0.0)[:, None]
        sums += crosses[:, None] * (_CORNERS[a] + t * (_CORNERS[b] - _CORNERS[a]))
        counts += crosses[:, None]
    vertices = (low_m + step_m * (cells + sums / counts)).astype(np.float32)
    for _ in range(3):
        slope = _gradient(rows, vertices, 0.1 * step_m)
        # A step longer than half a cell would tangle the faces where the field has a crease.
        shift = -field(rows, vertices)[:, None] * slope / np.maximum((slope**2).sum(1, keepdims=True), 0.1)
        vertices = vertices + np.clip(shift, -0.5 * step_m, 0.5 * step_m)
    slope = _gradient(rows, vertices, 0.35 * step_m)
    normals = slope / np.maximum(np.linalg.norm(slope, axis=1, keepdims=True), 1e-6)
    occlusion = np.clip(field(rows, vertices + fold_m * normals) / fold_m, 0.0, 1.0)
    return Mesh(vertices, normals.astype(np.float32), _faces(inside, number), occlusion.astype(np.float32))


def _window(corner: NDArray[np.int64], shape: NDArray[np.int64]) -> tuple[slice, ...]:
    return tuple(slice(c, n - 1 + c) for c, n in zip(corner.tolist(), shape.tolist()))


def _faces(inside: NDArray[np.bool_], number: NDArray[np.int64]) -> NDArray[np.int32]:
    """Two triangles for each grid edge that the surface crosses, joining the four cells around the edge."""
    faces = []
    for axis in range(3):
        u, v = (axis + 1) % 3, (axis + 2) % 3
        first = np.take(inside, range(inside.shape[axis] - 1), axis=axis)
        second = np.take(inside, range(1, inside.shape[axis]), axis=axis)
        edges = np.argwhere(first != second)
        keep = (edges[:, u] > 0) & (edges[:, v] > 0)
        keep &= (edges[:, u] < inside.shape[u] - 1) & (edges[:, v] < inside.shape[v] - 1)
        edges = edges[keep]
        around = []
        for du, dv in ((-1, -1), (0, -1), (0, 0), (-1, 0)):
            cell = edges.copy()
            cell[:, u] += du
            cell[:, v] += dv
            around.append(number[tuple(cell.T)])
        quad = np.stack(around, axis=1)
        flip = ~inside[tuple(edges.T)]
        quad[flip] = quad[flip][:, ::-1]
        faces += [quad[:, [0, 1, 2]], quad[:, [0, 2, 3]]]
    return np.ascontiguousarray(np.concatenate(faces), np.int32)


def join(meshes: list[Mesh]) -> Mesh:
    """One mesh from several, their faces renumbered."""
    starts = np.cumsum([0] + [len(mesh.vertices) for mesh in meshes[:-1]])
    return Mesh(
        np.concatenate([mesh.vertices for mesh in meshes]),
        np.concatenate([mesh.normals for mesh in meshes]),
        np.concatenate([mesh.faces + np.int32(start) for mesh, start in zip(meshes, starts)]),
        np.concatenate([mesh.occlusion for mesh in meshes]),
    )
