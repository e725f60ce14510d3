"""Frames of one instrument aligned with each other: what is found, what it claims, what comes back."""

import numpy as np
import pytest
from scipy import ndimage

import astropy.units as u
from astropy.time import Time

import sunpy.map
from sunpy.map import MapSequence

import sunalign
from sunalign.exceptions import SunalignUserWarning
from sunalign.testing.helpers import small_header, small_map, small_sequence, smooth_image


def shifts(result):
    return np.stack([result.table["shift_x"].value, result.table["shift_y"].value], axis=1)


def errors(result):
    return np.stack([result.table["shift_x_error"].value, result.table["shift_y_error"].value], axis=1)


def left_over(result, truth):
    """What is not found of a displacement, less the mean, which nothing tells; arcsec."""
    left = shifts(result) - truth.to_value(u.arcsec)
    return left - np.nanmean(left, axis=0)


def align(frames, **options):
    return sunalign.align_sequence(frames, **{"drift": "remove", "solar_rotation": "none"} | options)


@pytest.mark.parametrize("method", ["auto", "pairs", "template"])
def test_displacements_are_found_within_their_errors(method):
    maps, truth = small_sequence(16, noise=4.0, seed=3)
    result = align(maps, method=method)
    left = left_over(result, truth)
    assert result.success
    assert np.abs(left).max() < 0.2, "arcsec, of pixels of 4"
    assert 0.5 < np.std(left / errors(result)) < 1.6


@pytest.mark.parametrize("roll", [0.0, 30.0, 180.0])
def test_the_sky_is_told_from_the_pixels(roll):
    maps, truth = small_sequence(8, roll=roll, scale=(2.0, 3.0), shape=(72, 64), seed=1)
    assert np.abs(left_over(align(maps), truth)).max() < 0.25


def test_corrected_frames_show_the_scene_at_one_place():
    maps, _ = small_sequence(8, noise=0.5, jitter=2.0, seed=5)
    result = align(maps)
    middle = result.aligned[3]
    for frame in result.aligned:
        # Through the world coordinates alone: where is the middle frame's brightest spot?
        spot = np.unravel_index(np.argmax(ndimage.gaussian_filter(middle.data[12:-12, 12:-12], 1)), (40, 48))
        world = middle.wcs.pixel_to_world_values(spot[1] + 12, spot[0] + 12)
        x, y = frame.wcs.world_to_pixel_values(*world)
        value = ndimage.map_coordinates(ndimage.gaussian_filter(frame.data, 1), [[y], [x]], order=3)[0]
        assert value == pytest.approx(ndimage.gaussian_filter(middle.data, 1)[spot[0] + 12, spot[1] + 12], abs=1.5)
    before, after = result.running_difference
    assert after < 0.5 * before


def test_pixels_and_cards_survive():
    maps, _ = small_sequence(5, header={"exptime": 2.5, "comment": "kept"})
    maps[2].plot_settings["cmap"] = "plasma"
    result = align(maps)
    for old, new in zip(maps, result.aligned, strict=True):
        assert new.data is old.data
        changed = {k for k in new.meta if new.meta.get(k) != old.meta.get(k)} - {"history"}
        assert changed <= {"crval1", "crval2"}
        assert new.plot_settings == old.plot_settings
    assert "sunalign sequence of 5 frames" in result.aligned[0].meta["history"]


def test_the_order_given_comes_back():
    maps, truth = small_sequence(9, seed=2)
    shuffled = [4, 0, 8, 2, 6, 1, 7, 3, 5]
    result = align([maps[k] for k in shuffled])
    assert np.allclose(shifts(result), shifts(align(maps))[shuffled], atol=1e-9)
    assert np.abs(left_over(result, truth[shuffled])).max() < 0.2
    assert [m.date.isot for m in result.aligned] == [maps[k].date.isot for k in shuffled]


def test_a_displacement_of_a_header_is_answered_by_as_much():
    maps, _ = small_sequence(8, seed=4)
    jumps = np.random.default_rng(0).normal(size=(8, 2)) * 6 * u.arcsec
    moved = [m.shift_reference_coord(*-jump) for m, jump in zip(maps, jumps, strict=True)]
    before, after = align(maps, method="template"), align(moved, method="template")
    gained = shifts(after) - shifts(before) - (jumps - jumps.mean(axis=0)).value
    # Not exactly: the part that all frames show is another one by up to a pixel.
    assert np.abs(gained / errors(before)).max() < 2.0


def test_drift_is_kept_unless_it_is_to_be_removed():
    maps, _ = small_sequence(24, jitter=0.3, seed=6)
    ramp = np.linspace(-20, 20, 24)[:, None] * [1.0, -0.5] * u.arcsec
    moved = [m.shift_reference_coord(*-step) for m, step in zip(maps, ramp, strict=True)]
    kept, removed = align(moved, drift="keep"), align(moved, drift="remove")
    assert np.ptp(shifts(kept)[:, 0]) < 6
    assert np.ptp(shifts(removed)[:, 0]) > 35
    assert "is kept" in kept.drift
    assert "removed" in removed.drift
    # By default, too.
    assert np.array_equal(shifts(align(moved, drift="auto")), shifts(kept))


def test_frames_may_differ_in_size_scale_and_exposure():
    scene = smooth_image((160, 160), seed=9, smoothness=4)
    rng = np.random.default_rng(1)
    maps, truth = [], []
    for k in range(9):
        jump = rng.normal(size=2) * 3
        scale = 2.0 if k % 3 else 2.5
        n = (80, 88) if k % 2 else (72, 80)
        header = small_header(n, scale=scale, centre=(0.0, 0.0))
        y, x = (np.arange(size) - (size - 1) / 2 for size in n)
        # Scene pixels of 2 arcsec about the centre; what the header says is short of the truth by the jump.
        at = np.meshgrid(79.5 + (y * scale + jump[1]) / 2, 79.5 + (x * scale + jump[0]) / 2, indexing="ij")
        data = (1 + k % 4) * (ndimage.map_coordinates(scene, at, order=3) + rng.normal(size=n))
        date = Time(header["date-obs"]) + 12 * k * u.s
        maps.append(sunpy.map.Map(data, header | {"date-obs": date.isot, "mjd-obs": date.mjd}))
        truth.append(jump)
    result = align(maps)
    assert result.success
    assert np.abs(left_over(result, np.array(truth) * u.arcsec)).max() < 0.25
    assert [m.data.shape for m in result.aligned] == [m.data.shape for m in maps]


def outlier(kind, frame):
    rng = np.random.default_rng(8)
    if kind == "black":
        return np.zeros_like(frame)
    if kind == "saturated":
        return np.full_like(frame, 4095.0)
    if kind == "another scene":
        return smooth_image(frame.shape, seed=77, smoothness=2.5).astype(frame.dtype)
    return np.where(rng.uniform(size=frame.shape) < 0.4, 3000 * rng.exponential(size=frame.shape), frame)


@pytest.mark.parametrize("kind", ["black", "saturated", "another scene", "cosmic rays"])
def test_an_outlier_is_named_left_as_it_was_and_spoils_nothing(kind):
    maps, truth = small_sequence(12, seed=7)
    maps[5] = sunpy.map.Map(outlier(kind, maps[5].data), maps[5].meta)
    with pytest.warns(SunalignUserWarning, match="Of 12 frames 1 was not placed"):
        result = align(maps)
    assert not result.success
    assert result.table["doubtful"].tolist() == [k == 5 for k in range(12)]
    assert result.corrections[5] is None
    assert result.aligned[5] is maps[5]
    good = np.arange(12) != 5
    assert np.abs(left_over(result, truth)[good]).max() < 0.2


def test_another_filter_is_an_outlier_by_its_header_and_a_partner_by_another_metric():
    maps, truth = small_sequence(6, noise=0.5, seed=11, header={"wavelnth": 195, "waveunit": "Angstrom"})
    other = 20 * np.sqrt(maps[2].data) + smooth_image(maps[2].data.shape, seed=3)
    maps[2] = sunpy.map.Map(other, maps[2].meta.copy() | {"wavelnth": 171})
    result = align(maps, on_doubt="ignore")
    assert "171" in result.table["message"][2]
    partner = align(maps, metric="mutual-information", on_doubt="ignore")
    assert not partner.table["doubtful"].any()
    assert np.abs(left_over(partner, truth)).max() < 1  # A quarter of a pixel.


def test_all_pairs_say_where_they_are_and_how_well_they_close():
    maps, _ = small_sequence(10)
    result = align(maps, method="pairs", max_lag=3)
    assert set(np.asarray(result.pairs["second"] - result.pairs["first"])) == {1, 2, 3}
    assert result.method.reach == 3
    assert result.table["n_pairs"].tolist() == [3, 4, 5, 6, 6, 6, 6, 5, 4, 3]
    assert np.abs(result.pairs["shift_x_residual"].value).max() < 0.3
    assert (result.table["closure"] < 3).all()


def test_rotation_is_found_too():
    scene = smooth_image((120, 120), seed=3, smoothness=2.5)
    turns = np.array([0.0, 0.4, -0.5, 0.3, -0.2])
    rng, maps = np.random.default_rng(0), []
    for k, turn in enumerate(turns):
        cos, sin = np.cos(np.radians(turn)), np.sin(np.radians(turn))
        y, x = np.mgrid[:72, :72] - 35.5
        # The frame is turned counter-clockwise by what its header does not say.
        data = ndimage.map_coordinates(scene, [59.5 + sin * x + cos * y, 59.5 + cos * x - sin * y], order=3)
        header = small_header((72, 72))
        date = Time(header["date-obs"]) + 12 * k * u.s
        data = data + rng.normal(size=data.shape)
        maps.append(sunpy.map.Map(data, header | {"date-obs": date.isot, "mjd-obs": date.mjd}))
    result = align(maps, fit=("shift", "rotation"))
    found = result.table["rotation"].to_value(u.deg)
    assert np.abs(found - found.mean() - (turns - turns.mean())).max() < 0.05
    assert result.corrections[1].rotation.value == pytest.approx(found[1], abs=1e-9)


def test_map_sequences_have_it_as_a_method():
    maps, truth = small_sequence(6)
    aligned, result = MapSequence(*maps).align_to(drift="remove", return_result=True)
    assert isinstance(aligned, MapSequence)
    assert np.abs(left_over(result, truth)).max() < 0.2
    assert aligned[2].meta["crval1"] == pytest.approx(
        maps[2].meta["crval1"] + result.table["shift_x"][2].value, abs=1e-6
    )


def test_a_map_sequence_in_an_order_of_its_own_keeps_it():
    maps, truth = small_sequence(6)
    order = [3, 1, 5, 0, 2, 4]
    given = MapSequence(*(maps[k] for k in order), sortby=None)
    aligned, result = given.align_to(drift="remove", return_result=True)
    assert [image.date for image in aligned] == [maps[k].date for k in order]
    assert all(new.data is old.data for new, old in zip(aligned, given, strict=True))
    for new, old, row in zip(aligned, given, result.table, strict=True):
        assert new.date.isot == row["date"].isot
        assert new.meta["crval1"] - old.meta["crval1"] == pytest.approx(row["shift_x"].value, abs=1e-6)
    assert np.abs(left_over(result, truth[order])).max() < 0.2


def test_maps_beside_a_path_are_corrected(tmp_path):
    maps, _ = small_sequence(4)
    maps[1].save(tmp_path / "one.fits")
    result = align([maps[0], tmp_path / "one.fits", *maps[2:]], drift="remove")
    assert result.aligned[1] is None
    for row in (0, 2, 3):
        moved = result.aligned[row].meta["crval1"] - maps[row].meta["crval1"]
        assert moved == pytest.approx(result.table["shift_x"][row].value, abs=1e-6)


def test_a_template_and_pairs_agree_on_a_scene_that_does_not_change():
    maps, _ = small_sequence(20, noise=10)
    one, other = (shifts(align(maps, method=method)) for method in ("pairs", "template"))
    assert np.abs(one - other).max() < 0.3


def anchored(n=30, drift=12.0, **options):
    maps, truth = small_sequence(n, jitter=0.5, seed=13)
    ramp = drift * np.linspace(-1, 1, n)[:, None] * [1.0, 0.5] * u.arcsec
    maps = [m.shift_reference_coord(*-step) for m, step in zip(maps, ramp, strict=True)]
    wide = smooth_image((112, 120), seed=13, smoothness=2.5)
    return maps, truth + ramp, small_map(wide, header={"date-obs": "2024-05-01T00:03:00", "mjd-obs": 60431.0020833})


def test_a_reference_bounds_the_drift_and_gives_the_zero():
    maps, truth, reference = anchored()
    result = sunalign.align_sequence(maps, reference, anchor_every=6, solar_rotation="none", max_shift=40 * u.arcsec)
    left = shifts(result) - truth.to_value(u.arcsec)
    assert result.success
    assert np.abs(left).max() < 0.4, "absolute, in arcsec, of pixels of 4"
    assert len(result.anchors) == 6
    assert "anchors" in result.drift


def test_frames_are_anchored_by_the_reference_nearest_in_time(tmp_path):
    maps, truth, reference = anchored()
    last = maps[-1].date
    header = reference.meta.copy() | {"date-obs": last.isot, "mjd-obs": last.mjd}
    # As if the truth were another one at the end, which tells the two references apart.
    header["crval1"] += 20.0
    other = sunpy.map.Map(reference.data, header)
    first = maps[0].date
    reference = sunpy.map.Map(reference.data, reference.meta.copy() | {"date-obs": first.isot, "mjd-obs": first.mjd})
    paths = [tmp_path / "one.fits", tmp_path / "two.fits"]
    for path, image in zip(paths, (reference, other), strict=True):
        image.save(path)
    for references in ((reference, other), [str(path) for path in paths], MapSequence(reference, other)):
        result = sunalign.align_sequence(
            maps, list(references), anchor_every=6, solar_rotation="none", max_shift=40 * u.arcsec, on_doubt="ignore"
        )
        numbers = np.asarray(result.anchors["frame"])
        left = result.anchors["shift_x"].to_value(u.arcsec) - truth[numbers, 0].to_value(u.arcsec)
        assert np.abs(left - np.where(numbers < 15, 0.0, 20.0)).max() < 0.5


def test_shift_and_rotation_are_bounded_by_anchors():
    scene = smooth_image((140, 140), seed=3, smoothness=2.5)
    rng, maps, truth = np.random.default_rng(1), [], []
    for k in range(8):
        turn, dx, dy = (0.3, 1.0, 1.0) * rng.normal(size=3) + np.array([0.1, 0.4, 0.0]) * k
        cos, sin = np.cos(np.radians(turn)), np.sin(np.radians(turn))
        y, x = np.mgrid[:72, :72] - 35.5
        data = ndimage.map_coordinates(scene, [69.5 + dy + sin * x + cos * y, 69.5 + dx + cos * x - sin * y], order=3)
        header = small_header((72, 72))
        date = Time(header["date-obs"]) + 12 * k * u.s
        data = data + rng.normal(size=data.shape)
        maps.append(sunpy.map.Map(data, header | {"date-obs": date.isot, "mjd-obs": date.mjd}))
        truth.append((4 * dx, 4 * dy, turn))
    result = sunalign.align_sequence(
        maps,
        small_map(scene),
        fit=("shift", "rotation"),
        anchor_every=3,
        solar_rotation="none",
        max_shift=40 * u.arcsec,
    )
    assert result.success
    assert result.anchors["used"].all()
    found = np.stack([result.table[name].value for name in ("shift_x", "shift_y", "rotation")], axis=1)
    error = np.stack([result.table[f"{name}_error"].value for name in ("shift_x", "shift_y", "rotation")], axis=1)
    left = found - truth
    assert np.abs(left[:, :2]).max() < 0.5, "absolute, in arcsec, of pixels of 4"
    assert np.abs(left[:, 2]).max() < 0.1, "degrees"
    assert np.sqrt(np.mean((left / error) ** 2)) < 3
    spot = [m.pixel_to_world(5 * u.pix, 60 * u.pix) for m in result.aligned]
    where = [(69.5 + t[0] / 4, 69.5 + t[1] / 4, np.radians(t[2])) for t in truth]
    for sky, (x0, y0, turn) in zip(spot, where, strict=True):
        dx, dy = 5 - 35.5, 60 - 35.5
        x = x0 + np.cos(turn) * dx - np.sin(turn) * dy
        y = y0 + np.sin(turn) * dx + np.cos(turn) * dy
        assert abs(sky.Tx.to_value(u.arcsec) - maps[0].meta["crval1"] - 4 * (x - 69.5)) < 1
        assert abs(sky.Ty.to_value(u.arcsec) - maps[0].meta["crval2"] - 4 * (y - 69.5)) < 1


def test_solar_rotation_is_taken_out_first():
    scene = sunalign.simulate.Scene(seed=4, extent=(30 * u.deg, 30 * u.deg))
    start = Time(scene.time)
    observer = sunalign.simulate.observer(1 * u.AU, time=start)
    maps = [
        sunalign.simulate.imager(
            scene,
            center=(0 * u.arcsec, 40 * u.arcsec),
            shape=(100, 100),
            scale=4 * u.arcsec,
            observer=observer,
            time=start + k * u.hour,
            rng=10 + k,
        )
        for k in range(-3, 4)
    ]
    with_it = sunalign.align_sequence(maps, drift="remove")
    without = sunalign.align_sequence(maps, drift="remove", solar_rotation="none", on_doubt="ignore")
    assert np.abs(shifts(with_it)).max() < 0.6, "arcsec, six hours apart"
    assert np.ptp(shifts(without)[:, 0]) > 40


def test_a_fixed_pattern_is_left_out_or_doubted():
    # The telescope follows nothing: the Sun moves over the detector, the dust does not.
    scene = smooth_image((100, 200), seed=21, smoothness=2.5)
    rng = np.random.default_rng(2)
    dust = rng.uniform(size=(72, 72)) < 0.01
    maps = []
    for k in range(16):
        header = small_header((72, 72), centre=(16.0 * k, 0.0))
        data = scene[14:86, 10 + 4 * k : 82 + 4 * k] + rng.normal(size=(72, 72))
        data[dust] = 400
        date = Time(header["date-obs"]) + 12 * k * u.s
        maps.append(sunpy.map.Map(data, header | {"date-obs": date.isot, "mjd-obs": date.mjd}))
    result = sunalign.align_sequence(maps, drift="remove", solar_rotation="none")
    assert "fixed pattern" in result.assumptions
    assert np.abs(shifts(result)).max() < 0.4, "the headers are right"
