"""The inner loops of the renderer, compiled: skinning, z-buffer, shadow map, shading in linear light, encoding.

Everything runs on one core, so that worker processes scale; nothing here draws random numbers.
"""

# mypy: disable-error-code="no-untyped-def"
from __future__ import annotations

import numpy as np
from numba import njit

F = np.float32


@njit(cache=True)
def skin(vertices, normals, bone, weight, matrices, out_p, out_n):
    """Linear blend skinning of rest ``vertices``, ``normals`` (N, 3) by ``matrices`` (B, 3, 4) into two arrays."""
    m = np.empty((3, 4), np.float32)
    for i in range(vertices.shape[0]):
        for r in range(3):
            for c in range(4):
                m[r, c] = (
                    weight[i, 0] * matrices[bone[i, 0], r, c]
                    + weight[i, 1] * matrices[bone[i, 1], r, c]
                    + weight[i, 2] * matrices[bone[i, 2], r, c]
                )
        x, y, z = vertices[i, 0], vertices[i, 1], vertices[i, 2]
        u, v, w = normals[i, 0], normals[i, 1], normals[i, 2]
        nx = m[0, 0] * u + m[0, 1] * v + m[0, 2] * w
        ny = m[1, 0] * u + m[1, 1] * v + m[1, 2] * w
        nz = m[2, 0] * u + m[2, 1] * v + m[2, 2] * w
        s = F(1.0) / np.sqrt(nx * nx + ny * ny + nz * nz + F(1e-12))
        out_n[i, 0], out_n[i, 1], out_n[i, 2] = nx * s, ny * s, nz * s
        for r in range(3):
            out_p[i, r] = m[r, 0] * x + m[r, 1] * y + m[r, 2] * z + m[r, 3]


@njit(cache=True)
def project(points, rotation, position, f_px, cx, cy, out):
    """World ``points`` (N, 3) -> ``out`` (N, 3): sample column and row, inverse depth in 1/m (0 behind the camera)."""
    for i in range(points.shape[0]):
        x, y, z = points[i, 0] - position[0], points[i, 1] - position[1], points[i, 2] - position[2]
        depth = rotation[2, 0] * x + rotation[2, 1] * y + rotation[2, 2] * z
        if depth < F(0.05):
            out[i, 2] = F(0.0)
            continue
        inverse = F(1.0) / depth
        out[i, 0] = cx + f_px * (rotation[0, 0] * x + rotation[0, 1] * y + rotation[0, 2] * z) * inverse
        out[i, 1] = cy + f_px * (rotation[1, 0] * x + rotation[1, 1] * y + rotation[1, 2] * z) * inverse
        out[i, 2] = inverse


@njit(cache=True)
def bounds(screen, first, end, out):
    """Least and greatest column and row of the rows ``first``..``end`` of ``screen`` into ``out`` (4,)."""
    out[0], out[1], out[2], out[3] = F(1e9), F(1e9), F(-1e9), F(-1e9)
    for i in range(first, end):
        if screen[i, 2] > F(0.0):
            out[0], out[1] = min(out[0], screen[i, 0]), min(out[1], screen[i, 1])
            out[2], out[3] = max(out[2], screen[i, 0]), max(out[3], screen[i, 1])


@njit(cache=True)
def draw(faces, screen, depth, owner, first):
    """Rasterise front faces (F, 3) of ``screen`` (N, 3) into ``depth`` (inverse, larger is nearer) and ``owner``.

    ``owner`` receives ``first`` + the face's number. Samples lie at integer + 0.5.
    """
    rows, columns = depth.shape
    for i in range(faces.shape[0]):
        a, b, c = faces[i, 0], faces[i, 1], faces[i, 2]
        za, zb, zc = screen[a, 2], screen[b, 2], screen[c, 2]
        ax, ay, bx, by, cx, cy = screen[a, 0], screen[a, 1], screen[b, 0], screen[b, 1], screen[c, 0], screen[c, 1]
        area = (bx - ax) * (cy - ay) - (by - ay) * (cx - ax)
        if area >= F(-1e-6) or za <= F(0.0) or zb <= F(0.0) or zc <= F(0.0):
            continue
        x0 = max(0, int(np.ceil(min(ax, min(bx, cx)) - F(0.5))))
        x1 = min(columns - 1, int(np.floor(max(ax, max(bx, cx)) - F(0.5))))
        y0 = max(0, int(np.ceil(min(ay, min(by, cy)) - F(0.5))))
        y1 = min(rows - 1, int(np.floor(max(ay, max(by, cy)) - F(0.5))))
        if x1 < x0 or y1 < y0:
            continue
        scale = F(1.0) / area
        for y in range(y0, y1 + 1):
            py = F(y) + F(0.5)
            for x in range(x0, x1 + 1):
                px = F(x) + F(0.5)
                wb = ((px - ax) * (cy - ay) - (py - ay) * (cx - ax)) * scale
                wc = ((bx - ax) * (py - ay) - (by - ay) * (px - ax)) * scale
                wa = F(1.0) - wb - wc
                if wa >= F(0.0) and wb >= F(0.0) and wc >= F(0.0):
                    z = wa * za + wb * zb + wc * zc
                    if z > depth[y, x]:
                        depth[y, x] = z
                        owner[y, x] = first + i


@njit(cache=True)
def draw_shadow(faces, light, depth):
    """Rasterise every face of ``light`` (N, 3: map column, map row, height towards the light) into a shadow map."""
    rows, columns = depth.shape
    for i in range(faces.shape[0]):
        a, b, c = faces[i, 0], faces[i, 1], faces[i, 2]
        ax, ay, bx, by, cx, cy = light[a, 0], light[a, 1], light[b, 0], light[b, 1], light[c, 0], light[c, 1]
        area = (bx - ax) * (cy - ay) - (by - ay) * (cx - ax)
        if area >= F(-1e-6):
            continue
        x0 = max(0, int(np.ceil(min(ax, min(bx, cx)) - F(0.5))))
        x1 = min(columns - 1, int(np.floor(max(ax, max(bx, cx)) - F(0.5))))
        y0 = max(0, int(np.ceil(min(ay, min(by, cy)) - F(0.5))))
        y1 = min(rows - 1, int(np.floor(max(ay, max(by, cy)) - F(0.5))))
        if x1 < x0 or y1 < y0:
            continue
        scale = F(1.0) / area
        for y in range(y0, y1 + 1):
            py = F(y) + F(0.5)
            for x in range(x0, x1 + 1):
                px = F(x) + F(0.5)
                wb = ((px - ax) * (cy - ay) - (py - ay) * (cx - ax)) * scale
                wc = ((bx - ax) * (py - ay) - (by - ay) * (px - ax)) * scale
                wa = F(1.0) - wb - wc
                if wa >= F(0.0) and wb >= F(0.0) and wc >= F(0.0):
                    z = wa * light[a, 2] + wb * light[b, 2] + wc * light[c, 2]
                    if z > depth[y, x]:
                        depth[y, x] = z


@njit(cache=True)
def to_light(points, frame, origin, per_metre, out):
    """World ``points`` (N, 3) -> orthographic map column, row and height (m) along the light ``frame`` (3, 3)."""
    for i in range(points.shape[0]):
        x, y, z = points[i, 0] - origin[0], points[i, 1] - origin[1], points[i, 2] - origin[2]
        out[i, 0] = per_metre * (frame[0, 0] * x + frame[0, 1] * y + frame[0, 2] * z)
        out[i, 1] = per_metre * (frame[1, 0] * x + frame[1, 1] * y + frame[1, 2] * z)
        out[i, 2] = frame[2, 0] * x + frame[2, 1] * y + frame[2, 2] * z


@njit(cache=True)
def _lit(shadow, column, row, height, bias):
    """Share of light (0..1) at a place of the shadow map: four comparisons, blended bilinearly."""
    c, r = column - F(0.5), row - F(0.5)
    x, y = int(np.floor(c)), int(np.floor(r))
    if x < 0 or y < 0 or x + 1 >= shadow.shape[1] or y + 1 >= shadow.shape[0]:
        return F(1.0)
    fx, fy = c - F(x), r - F(y)
    level = height + bias
    total = F(0.0)
    if shadow[y, x] < level:
        total += (F(1.0) - fx) * (F(1.0) - fy)
    if shadow[y, x + 1] < level:
        total += fx * (F(1.0) - fy)
    if shadow[y + 1, x] < level:
        total += (F(1.0) - fx) * fy
    if shadow[y + 1, x + 1] < level:
        total += fx * fy
    return total


@njit(cache=True)
def shade(
    window, samples, owner, depth, room_depth, faces, tile, screen, world, normals, uv, occlusion,
    tiles, level, gloss, person, light, frame, origin, per_metre, shadow, room, floor, shaded, grid, out,
):  # fmt: skip
    """Shade the pixels of ``window`` (y0, y1, x0, x1) and blend them with the room, in linear light.

    Per pixel ``samples`` x ``samples`` samples are averaged. ``light`` rows: key direction, key colour, fill
    direction, fill colour, ambient from above, ambient from below, eye position. ``floor`` (H, W, 3) holds the
    floor's x, z (m) and whether it is seen there (negative: no floor); ``shaded`` is the light left on the floor, see
    :func:`shade_floor`. ``person`` (F,) numbers whose tiles a face uses.
    """
    n = float(samples * samples)
    for py in range(window[0], window[1]):
        for px in range(window[2], window[3]):
            red, green, blue = F(0.0), F(0.0), F(0.0)
            open_samples = 0
            for sy in range(samples):
                for sx in range(samples):
                    y, x = py * samples + sy, px * samples + sx
                    f = owner[y, x]
                    if f < 0 or depth[y, x] <= room_depth[y, x]:
                        open_samples += 1
                        continue
                    a, b, c = faces[f, 0], faces[f, 1], faces[f, 2]
                    ax, ay = screen[a, 0], screen[a, 1]
                    bx, by, cx, cy = screen[b, 0] - ax, screen[b, 1] - ay, screen[c, 0] - ax, screen[c, 1] - ay
                    scale = F(1.0) / (bx * cy - by * cx)
                    ox, oy = F(x) + F(0.5) - ax, F(y) + F(0.5) - ay
                    wb, wc = (ox * cy - oy * cx) * scale, (bx * oy - by * ox) * scale
                    wa = F(1.0) - wb - wc
                    nx = wa * normals[a, 0] + wb * normals[b, 0] + wc * normals[c, 0]
                    ny = wa * normals[a, 1] + wb * normals[b, 1] + wc * normals[c, 1]
                    nz = wa * normals[a, 2] + wb * normals[b, 2] + wc * normals[c, 2]
                    inv = F(1.0) / np.sqrt(nx * nx + ny * ny + nz * nz + F(1e-12))
                    nx, ny, nz = nx * inv, ny * inv, nz * inv
                    wx = wa * world[a, 0] + wb * world[b, 0] + wc * world[c, 0]
                    wy = wa * world[a, 1] + wb * world[b, 1] + wc * world[c, 1]
                    wz = wa * world[a, 2] + wb * world[b, 2] + wc * world[c, 2]
                    ao = wa * occlusion[a] + wb * occlusion[b] + wc * occlusion[c]
                    k = tile[f]
                    who = person[f]
                    lod = level[who, k]
                    size = tiles.shape[2] >> lod
                    first_row = tiles.shape[2] - (tiles.shape[2] >> (lod - 1)) if lod > 0 else 0
                    first_column = tiles.shape[2] if lod > 0 else 0
                    u = (wa * uv[a, 0] + wb * uv[b, 0] + wc * uv[c, 0]) * F(size) - F(0.5)
                    v = (wa * uv[a, 1] + wb * uv[b, 1] + wc * uv[c, 1]) * F(size) - F(0.5)
                    u = min(max(u, F(0.0)), F(size - 1))
                    v = min(max(v, F(0.0)), F(size - 1))
                    iu, iv = min(int(u), size - 2), min(int(v), size - 2)
                    fu, fv = u - F(iu), v - F(iv)
                    iu, iv = iu + first_column, iv + first_row
                    w00, w01 = (F(1.0) - fu) * (F(1.0) - fv), fu * (F(1.0) - fv)
                    w10, w11 = (F(1.0) - fu) * fv, fu * fv
                    t = tiles[who, k]
                    # Half Lambert-like softening of the terminator stands for the light's extent.
                    key = nx * light[0, 0] + ny * light[0, 1] + nz * light[0, 2]
                    key = max(F(0.0), (key + F(0.12)) / F(1.12))
                    if key > F(0.0):
                        gx, gy, gz = wx - origin[0], wy - origin[1], wz - origin[2]
                        column = per_metre * (frame[0, 0] * gx + frame[0, 1] * gy + frame[0, 2] * gz)
                        row = per_metre * (frame[1, 0] * gx + frame[1, 1] * gy + frame[1, 2] * gz)
                        height = frame[2, 0] * gx + frame[2, 1] * gy + frame[2, 2] * gz
                        key *= _lit(shadow, column, row, height, F(0.035))
                    fill = nx * light[2, 0] + ny * light[2, 1] + nz * light[2, 2]
                    fill = max(F(0.0), (fill + F(0.3)) / F(1.3)) * (F(0.4) + F(0.6) * ao)
                    up = F(0.5) + F(0.5) * ny
                    soft = F(0.25) + F(0.75) * ao
                    ex, ey, ez = light[6, 0] - wx, light[6, 1] - wy, light[6, 2] - wz
                    inv = F(1.0) / np.sqrt(ex * ex + ey * ey + ez * ez)
                    hx, hy, hz = ex * inv + light[0, 0], ey * inv + light[0, 1], ez * inv + light[0, 2]
                    inv = F(1.0) / np.sqrt(hx * hx + hy * hy + hz * hz + F(1e-9))
                    spec = max(F(0.0), (nx * hx + ny * hy + nz * hz) * inv)
                    spec = spec * spec
                    spec = spec * spec
                    spec = spec * spec
                    spec = spec * spec * gloss[k] * key * F(6.0)
                    for ch in range(3):
                        albedo = w00 * t[iv, iu, ch] + w01 * t[iv, iu + 1, ch]
                        albedo += w10 * t[iv + 1, iu, ch] + w11 * t[iv + 1, iu + 1, ch]
                        ambient = (up * light[4, ch] + (F(1.0) - up) * light[5, ch]) * soft
                        value = albedo * (key * light[1, ch] + fill * light[3, ch] + ambient) + spec * light[1, ch]
                        if ch == 0:
                            red += value
                        elif ch == 1:
                            green += value
                        else:
                            blue += value
            if open_samples > 0:
                gain = F(open_samples)
                if floor[py, px, 2] >= F(0.0):
                    u, v = (
                        (floor[py, px, 0] - grid[0]) * grid[2] - F(0.5),
                        (floor[py, px, 1] - grid[1]) * grid[2] - F(0.5),
                    )
                    iu, iv = int(np.floor(u)), int(np.floor(v))
                    if iu >= 0 and iv >= 0 and iu + 1 < shaded.shape[1] and iv + 1 < shaded.shape[0]:
                        fu, fv = u - F(iu), v - F(iv)
                        near = (shaded[iv, iu] * (F(1.0) - fu) + shaded[iv, iu + 1] * fu) * (F(1.0) - fv)
                        near += (shaded[iv + 1, iu] * (F(1.0) - fu) + shaded[iv + 1, iu + 1] * fu) * fv
                        gain *= near
                red += gain * room[py, px, 0]
                green += gain * room[py, px, 1]
                blue += gain * room[py, px, 2]
            out[py, px, 0], out[py, px, 1], out[py, px, 2] = red / F(n), green / F(n), blue / F(n)


@njit(cache=True)
def shade_floor(spheres, share, shadow, frame, origin, per_metre, grid, out):
    """Light left on the floor (1 in the open) on the cells of ``grid`` (x, z of the corner, cells a metre).

    ``spheres`` (S, 4: x, y, z, radius) take away ambient light, cos(theta) (r / d)^2 each, as independent events; the
    shadow map takes away the key light, whose share of the floor's light is ``share``; 3 x 3 soft comparisons.
    """
    for j in range(out.shape[0]):
        for i in range(out.shape[1]):
            x, z = grid[0] + (F(i) + F(0.5)) / grid[2], grid[1] + (F(j) + F(0.5)) / grid[2]
            free = F(1.0)
            for s in range(spheres.shape[0]):
                dx, dz, y = spheres[s, 0] - x, spheres[s, 2] - z, max(spheres[s, 1], spheres[s, 3])
                d2 = dx * dx + dz * dz + y * y
                free *= F(1.0) - min(F(0.9), spheres[s, 3] * spheres[s, 3] * y / (d2 * np.sqrt(d2)))
            gx, gy, gz = x - origin[0], -origin[1], z - origin[2]
            column = per_metre * (frame[0, 0] * gx + frame[0, 1] * gy + frame[0, 2] * gz)
            row = per_metre * (frame[1, 0] * gx + frame[1, 1] * gy + frame[1, 2] * gz)
            height = frame[2, 0] * gx + frame[2, 1] * gy + frame[2, 2] * gz
            lit = F(0.0)
            for dy in range(-1, 2):
                for dx in range(-1, 2):
                    lit += _lit(shadow, column + F(1.5 * dx), row + F(1.5 * dy), height, F(0.03))
            out[j, i] = share * lit / F(9.0) + (F(1.0) - share) * free


@njit(cache=True)
def encode(window, linear, table, out):
    """Linear light -> 8-bit codes by ``table`` over the square root of the light, inside ``window``."""
    top = table.shape[0] - 1
    for y in range(window[0], window[1]):
        for x in range(window[2], window[3]):
            for ch in range(3):
                value = min(max(linear[y, x, ch], F(0.0)), F(1.0))
                out[y, x, ch] = table[int(np.sqrt(value) * F(top) + F(0.5))]
