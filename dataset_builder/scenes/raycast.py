"""Ray casting of the empty room, in linear light: area lamp, window, one bounce; compiled, run once per view.

Solids are rows of (kind, centre 3, half size 3, cos yaw, sin yaw, colour 3, pattern, pattern scale, second colour 3);
kind 0 is a box, 1 an ellipsoid. Groups bound runs of rows: (low 3, high 3, first row, end row).
"""

# mypy: disable-error-code="no-untyped-def"
from __future__ import annotations

import numpy as np
from numba import njit

F = np.float32
SOLID = 17
PLAIN, PLANKS, TILES, CARPET, PICTURE, PAPER, LANDSCAPE = range(7)


@njit(cache=True)
def _hash(a, b, c):
    h = (
        np.uint32(a) * np.uint32(0x9E3779B1)
        ^ np.uint32(b) * np.uint32(0x85EBCA77)
        ^ np.uint32(c) * np.uint32(0xC2B2AE3D)
    )
    h ^= h >> np.uint32(15)
    h *= np.uint32(0x2C1B3C6D)
    h ^= h >> np.uint32(12)
    h *= np.uint32(0x297A2D39)
    h ^= h >> np.uint32(15)
    return h


@njit(cache=True)
def _unit(state):
    """Next number in [0, 1) of a linear congruential stream kept in ``state[0]``."""
    state[0] = state[0] * np.uint32(1664525) + np.uint32(1013904223)
    return F(state[0] >> np.uint32(8)) * F(1.0 / 16777216.0)


@njit(cache=True)
def _reversed_bits(number):
    """The binary digits of a whole number mirrored about the point: 1, 2, 3 -> 0.5, 0.25, 0.75."""
    value, digit = F(0.0), F(0.5)
    while number > 0:
        if number & 1:
            value += digit
        number >>= 1
        digit *= F(0.5)
    return value


@njit(cache=True)
def _noise(x, y):
    """Value noise in [0, 1] with unit cells."""
    ix, iy = int(np.floor(x)), int(np.floor(y))
    fx, fy = F(x - ix), F(y - iy)
    fx, fy = fx * fx * (F(3) - F(2) * fx), fy * fy * (F(3) - F(2) * fy)
    s = F(1.0 / 4294967295.0)
    a, b = F(_hash(ix, iy, 7)) * s, F(_hash(ix + 1, iy, 7)) * s
    c, d = F(_hash(ix, iy + 1, 7)) * s, F(_hash(ix + 1, iy + 1, 7)) * s
    return (a * (F(1) - fx) + b * fx) * (F(1) - fy) + (c * (F(1) - fx) + d * fx) * fy


@njit(cache=True)
def _pattern(row, u, v, colour):
    """Reflectance of a patterned surface at (u, v) metres into ``colour``."""
    kind, scale = int(row[12]), row[13]
    mix = F(0.0)
    if kind == 1:  # planks: rows of boards, each of its own shade, with grain along them
        board = int(np.floor(v / scale))
        length = F(1.3)
        shifted = u + F(0.37) * F(board % 7)
        piece = int(np.floor(shifted / length))
        mix = F(_hash(board, piece, 3)) * F(1.0 / 4294967295.0) * F(0.55) + F(0.35) * _noise(u * F(3.0), v * F(60.0))
        dv, du = v / scale - F(board), shifted / length - F(piece)
        if dv < F(0.03) or du < F(0.004):
            mix = F(1.3)
    elif kind == 2:  # tiles with joints
        du, dv = u / scale - np.floor(u / scale), v / scale - np.floor(v / scale)
        mix = F(0.15) * F(_hash(int(np.floor(u / scale)), int(np.floor(v / scale)), 5)) * F(1.0 / 4294967295.0)
        if du < F(0.02) or dv < F(0.02):
            mix = F(1.0)
    elif kind == 3:
        mix = F(0.6) * _noise(u * F(90.0), v * F(90.0)) + F(0.3) * _noise(u * F(5.0), v * F(5.0))
    elif kind == 4:  # an abstract picture
        mix = F(0.5) + F(0.5) * np.sin(F(9.0) * u / scale + F(4.0) * np.sin(F(5.0) * v / scale))
        mix = F(1.0) if mix > F(0.55) else F(0.0)
    elif kind == 5:  # wallpaper
        mix = F(0.5) if (u / scale - np.floor(u / scale)) < F(0.5) else F(0.0)
    elif kind == 6:  # hills under a sky
        hill = F(0.15) * np.sin(u / scale * F(7.0)) + F(0.08) * np.sin(u / scale * F(17.0))
        mix = F(1.0) if v / scale < hill else F(0.25) * v / scale
    mix = min(max(mix, F(0.0)), F(1.3))
    for ch in range(3):
        colour[ch] = max(F(0.01), row[9 + ch] + mix * (row[14 + ch] - row[9 + ch]))


@njit(cache=True)
def _hit_solids(solids, groups, o, d, limit, any_hit):
    """Nearest solid along a ray before ``limit``: (distance, row, side); row -1 when none."""
    best, found, side = limit, -1, 0
    for g in range(groups.shape[0]):
        near, far = F(1e-4), best
        for k in range(3):
            inverse = F(1.0) / (d[k] if abs(d[k]) > F(1e-7) else F(1e-7))
            t0, t1 = (groups[g, k] - o[k]) * inverse, (groups[g, 3 + k] - o[k]) * inverse
            near, far = max(near, min(t0, t1)), min(far, max(t0, t1))
        if near > far:
            continue
        for i in range(int(groups[g, 6]), int(groups[g, 7])):
            row = solids[i]
            px, py, pz = o[0] - row[1], o[1] - row[2], o[2] - row[3]
            lx, lz = row[7] * px - row[8] * pz, row[8] * px + row[7] * pz
            dx, dz = row[7] * d[0] - row[8] * d[2], row[8] * d[0] + row[7] * d[2]
            if row[0] == F(0.0):
                near, far, axis = F(1e-4), best, -1
                for k in range(3):
                    p = lx if k == 0 else (py if k == 1 else lz)
                    q = dx if k == 0 else (d[1] if k == 1 else dz)
                    inverse = F(1.0) / (q if abs(q) > F(1e-7) else F(1e-7))
                    t0, t1 = (-row[4 + k] - p) * inverse, (row[4 + k] - p) * inverse
                    if min(t0, t1) > near:
                        near, axis = min(t0, t1), k
                    far = min(far, max(t0, t1))
                if near < far and axis >= 0:
                    best, found, side = near, i, axis
                    if any_hit:
                        return best, found, side
            else:
                ax, ay, az = lx / row[4], py / row[5], lz / row[6]
                bx, by, bz = dx / row[4], d[1] / row[5], dz / row[6]
                qa, qb, qc = (
                    bx * bx + by * by + bz * bz,
                    ax * bx + ay * by + az * bz,
                    ax * ax + ay * ay + az * az - F(1),
                )
                root = qb * qb - qa * qc
                if root > F(0.0):
                    t = (-qb - np.sqrt(root)) / qa
                    if F(1e-4) < t < best:
                        best, found, side = t, i, 3
                        if any_hit:
                            return best, found, side
    return best, found, side


@njit(cache=True)
def _surface(solids, groups, walls, o, d, point, normal, colour):
    """First surface along a ray: fills ``point``, ``normal``, ``colour``; returns (distance, what).

    ``what`` is 0..5 for the walls (-x, +x, floor, ceiling, -z, +z) and 6 for a solid. The ray
    starts inside the room.
    """
    wall, best = -1, F(1e9)
    for k in range(3):
        if d[k] < F(-1e-7):
            t = (walls[2 * k, 3] - o[k]) / d[k]
            which = 2 * k
        elif d[k] > F(1e-7):
            t = (walls[2 * k + 1, 3] - o[k]) / d[k]
            which = 2 * k + 1
        else:
            continue
        if F(1e-4) < t < best:
            best, wall = t, which
    distance, found, side = _hit_solids(solids, groups, o, d, best, False)
    for k in range(3):
        point[k] = o[k] + distance * d[k]
        normal[k] = F(0.0)
    if found < 0:
        axis = wall // 2
        normal[axis] = F(1.0) if wall % 2 == 0 else F(-1.0)
        u = point[2] if axis == 0 else point[0]
        v = point[2] if axis == 1 else point[1]
        _pattern(walls[wall, 4:], u, v, colour)
        if axis != 1 and point[1] < F(0.09):
            for ch in range(3):
                colour[ch] = F(0.75)
        return distance, wall
    row = solids[found]
    px, py, pz = point[0] - row[1], point[1] - row[2], point[2] - row[3]
    lx, lz = row[7] * px - row[8] * pz, row[8] * px + row[7] * pz
    if side == 3:
        nx, ny, nz = lx / row[4] ** 2, py / row[5] ** 2, lz / row[6] ** 2
        s = F(1.0) / np.sqrt(nx * nx + ny * ny + nz * nz)
        nx, ny, nz = nx * s, ny * s, nz * s
    else:
        nx = (F(1.0) if lx > 0 else F(-1.0)) if side == 0 else F(0.0)
        ny = (F(1.0) if py > 0 else F(-1.0)) if side == 1 else F(0.0)
        nz = (F(1.0) if lz > 0 else F(-1.0)) if side == 2 else F(0.0)
    normal[0], normal[1], normal[2] = row[7] * nx + row[8] * nz, ny, row[7] * nz - row[8] * nx
    _pattern(row, lx if side != 0 else lz, py if side != 1 else lz, colour)
    return distance, 6


@njit(cache=True)
def _area_light(solids, groups, light, point, normal, state, direction):
    """Irradiance over pi (per unit radiance) that one sample of a rectangular light brings to a point.

    ``light``: corner 3, edge 3, edge 3, facing normal 3, area.
    """
    a, b = _unit(state), _unit(state)
    square = F(0.0)
    for k in range(3):
        direction[k] = light[k] + a * light[3 + k] + b * light[6 + k] - point[k]
        square += direction[k] * direction[k]
    distance = np.sqrt(square)
    cos_here, cos_there = F(0.0), F(0.0)
    for k in range(3):
        direction[k] /= distance
        cos_here += direction[k] * normal[k]
        cos_there -= direction[k] * light[9 + k]
    if cos_here <= F(0.0) or cos_there <= F(0.0):
        return F(0.0)
    _, found, _ = _hit_solids(solids, groups, point, direction, distance - F(0.02), True)
    if found >= 0:
        return F(0.0)
    # No light fills more than the half sphere: caps the estimate of one sample beside the light's rim.
    return min(F(1.0), cos_here * cos_there * light[12] / (square * F(np.pi)))


@njit(cache=True)
def render_room(
    solids, groups, walls, lights, radiance, bounce, glow, rotation, position, f_px, samples, seed, out, albedo, facing,
    emitted, depth, floor,
):  # fmt: skip
    """Linear light ``out`` (H, W, 3) of the room, inverse depth ``depth`` (H, W) at sample centres and floor places.

    ``lights`` (L, 13) with ``radiance`` (L, 3); ``bounce`` (3,) is the radiance with which one bounce is lit;
    ``glow`` (L,) tells which lights are seen as bright windows on their wall. ``albedo`` and ``facing`` (H, W, 3)
    receive the mean reflectance and normal, for :func:`denoise`, ``emitted`` the light of the windows themselves.
    """
    height, width = out.shape[0], out.shape[1]
    scale = depth.shape[0] // height
    state = np.zeros(1, np.uint32)
    d, point, normal, colour = np.zeros(3, F), np.zeros(3, F), np.zeros(3, F), np.zeros(3, F)
    to_light, there, normal2, colour2 = np.zeros(3, F), np.zeros(3, F), np.zeros(3, F), np.zeros(3, F)
    total, white, mean, bright = np.zeros(3, F), np.zeros(3, F), np.zeros(3, F), np.zeros(3, F)
    for y in range(height):
        for x in range(width):
            state[0] = _hash(x, y, seed)
            total[:] = F(0.0)
            white[:] = F(0.0)
            mean[:] = F(0.0)
            bright[:] = F(0.0)
            floor[y, x, 2] = F(-1.0)
            for s in range(samples):
                # The same well-spread places in every pixel (Hammersley), so that edges come out even.
                jx, jy = (F(s) + F(0.5)) / F(samples), _reversed_bits(s) + F(0.5) / F(samples)
                cx, cy = (F(x) + jx - F(0.5) * width) / f_px, (F(y) + jy - F(0.5) * height) / f_px
                length = F(1.0) / np.sqrt(cx * cx + cy * cy + F(1.0))
                for k in range(3):
                    d[k] = (rotation[0, k] * cx + rotation[1, k] * cy + rotation[2, k]) * length
                _, what = _surface(solids, groups, walls, position, d, point, normal, colour)
                seen = -1
                if what < 6:
                    for i in range(lights.shape[0]):
                        if glow[i] > F(0.0) and _within(lights[i], point):
                            seen = i
                if seen >= 0:
                    for ch in range(3):
                        bright[ch] += glow[seen] * radiance[seen, ch]
                    continue
                for k in range(3):
                    white[k] += colour[k]
                    mean[k] += normal[k]
                    point[k] += F(1e-3) * normal[k]
                for i in range(lights.shape[0]):
                    amount = _area_light(solids, groups, lights[i], point, normal, state, to_light)
                    for ch in range(3):
                        total[ch] += amount * radiance[i, ch] * colour[ch]
                a, b = F(2.0 * np.pi) * _unit(state), _unit(state)
                radius, up = np.sqrt(b), np.sqrt(max(F(0.0), F(1.0) - b))
                tx, ty, tz = normal[1], normal[2], normal[0]
                dot = tx * normal[0] + ty * normal[1] + tz * normal[2]
                tx, ty, tz = tx - dot * normal[0], ty - dot * normal[1], tz - dot * normal[2]
                inv = F(1.0) / np.sqrt(tx * tx + ty * ty + tz * tz + F(1e-9))
                tx, ty, tz = tx * inv, ty * inv, tz * inv
                bx, by, bz = (
                    normal[1] * tz - normal[2] * ty,
                    normal[2] * tx - normal[0] * tz,
                    normal[0] * ty - normal[1] * tx,
                )
                ca, sa = radius * np.cos(a), radius * np.sin(a)
                d[0] = ca * tx + sa * bx + up * normal[0]
                d[1] = ca * ty + sa * by + up * normal[1]
                d[2] = ca * tz + sa * bz + up * normal[2]
                _surface(solids, groups, walls, point, d, there, normal2, colour2)
                for ch in range(3):
                    total[ch] += colour[ch] * colour2[ch] * bounce[ch]
            for ch in range(3):
                out[y, x, ch] = total[ch] / F(samples)
                albedo[y, x, ch] = white[ch] / F(samples)
                facing[y, x, ch] = mean[ch] / F(samples)
                emitted[y, x, ch] = bright[ch] / F(samples)
            for sy in range(scale):
                for sx in range(scale):
                    cx = (F(x) + (F(sx) + F(0.5)) / F(scale) - F(0.5) * width) / f_px
                    cy = (F(y) + (F(sy) + F(0.5)) / F(scale) - F(0.5) * height) / f_px
                    length = np.sqrt(cx * cx + cy * cy + F(1.0))
                    for k in range(3):
                        d[k] = (rotation[0, k] * cx + rotation[1, k] * cy + rotation[2, k]) / length
                    distance, what = _surface(solids, groups, walls, position, d, point, normal, colour)
                    depth[y * scale + sy, x * scale + sx] = length / distance
                    if what == 2:
                        floor[y, x, 0], floor[y, x, 1], floor[y, x, 2] = point[0], point[2], F(1.0)


@njit(cache=True)
def _within(light, point):
    """Whether a point of a wall lies in the light's rectangle."""
    a, b, off = F(0.0), F(0.0), F(0.0)
    la, lb = F(0.0), F(0.0)
    for k in range(3):
        r = point[k] - light[k]
        a += r * light[3 + k]
        b += r * light[6 + k]
        la += light[3 + k] ** 2
        lb += light[6 + k] ** 2
        off += r * light[9 + k]
    return abs(off) < F(0.05) and F(0.0) <= a <= la and F(0.0) <= b <= lb


@njit(cache=True)
def denoise(light, albedo, facing, depth, radius, out):
    """Light on the surfaces averaged over neighbours of like normal and depth; their pattern stays as it is.

    ``light`` (H, W, 3), the noisy picture divided by ``albedo``, is filtered with the weights of a cross bilateral
    filter over 2 ``radius`` + 1 pixels and multiplied by ``albedo``. ``depth`` is the inverse depth at an equal or
    finer grid.
    """
    height, width = light.shape[0], light.shape[1]
    scale = depth.shape[0] // height
    weights = np.empty((2 * radius + 1, 2 * radius + 1), np.float32)
    for v in range(-radius, radius + 1):
        for u in range(-radius, radius + 1):
            weights[v + radius, u + radius] = np.exp(F(-1.5) * F(u * u + v * v) / F(radius * radius))
    for y in range(height):
        for x in range(width):
            total, red, green, blue = F(0.0), F(0.0), F(0.0), F(0.0)
            here = depth[y * scale, x * scale]
            for v in range(max(0, y - radius), min(height, y + radius + 1)):
                for u in range(max(0, x - radius), min(width, x + radius + 1)):
                    like = F(0.0)
                    for k in range(3):
                        like += facing[y, x, k] * facing[v, u, k]
                    change = abs(depth[v * scale, u * scale] - here) / here
                    if (like < F(0.85) or change > F(0.05)) and not (u == x and v == y):
                        continue
                    weight = weights[v - y + radius, u - x + radius]
                    total += weight
                    red += weight * light[v, u, 0]
                    green += weight * light[v, u, 1]
                    blue += weight * light[v, u, 2]
            out[y, x, 0] = red / total * albedo[y, x, 0]
            out[y, x, 1] = green / total * albedo[y, x, 1]
            out[y, x, 2] = blue / total * albedo[y, x, 2]
