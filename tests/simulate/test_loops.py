"""Coronal loops stand in space: where sunpy sees them, behind the limb, and turning with the Sun."""

import numpy as np
import pytest

import astropy.units as u
from astropy.coordinates import SkyCoord
from astropy.time import Time

from sunpy.coordinates import HeliographicStonyhurst, Helioprojective

from sunalign import simulate
from sunalign.simulate import _scene
from sunalign.simulate._loops import Region, Spots
from sunalign.simulate._sources import region_places

TIME = Time("2024-10-17T00:00:00")
EARTH = simulate.observer(1 * u.AU, 0 * u.deg, 3 * u.deg, TIME)
NEAR = simulate.observer(0.3 * u.AU, -20 * u.deg, -5 * u.deg, TIME)
# A surface without structure, in front of which there is nothing but loops.
PLAIN = simulate.Scene(time=TIME, contrast=1e-9, limb_brightening=0, resolution=0.3 * u.deg, loops=1)
FLUX = 1e-3  # square solar radii times the quiet Sun's brightness


def spot(lon, lat, height, width=0.004):
    """Region of one spot, from Stonyhurst coordinates in degrees and a height in solar radii."""
    lon, lat = np.radians([lon, lat])
    place = (1 + height) * np.array([np.cos(lat) * np.cos(lon), np.cos(lat) * np.sin(lon), np.sin(lat)])
    return Region(float(np.degrees(lat)), Spots(place[:, None], np.array([width]), np.array([FLUX])))


@pytest.fixture
def light(monkeypatch):
    """Intensity that given regions add to a featureless scene."""

    def measure(regions, tx, ty, observer, time=None, scene=PLAIN):
        seen = []
        for there in (regions, ()):
            monkeypatch.setattr(_scene, "loops", lambda recipe, n, there=there: tuple(there))
            seen.append(scene.intensity(tx, ty, observer, time))
        return seen[0] - seen[1]

    return measure


def direction(lon, lat, height, observer):
    """Where sunpy sees a place above the surface."""
    place = SkyCoord(lon * u.deg, lat * u.deg, (1 + height) * PLAIN.rsun, frame=HeliographicStonyhurst(obstime=TIME))
    there = place.transform_to(Helioprojective(observer=observer, obstime=TIME, rsun=PLAIN.rsun))
    return there.Tx, there.Ty, there.distance


def window(tx, ty, half, n=81):
    offset = np.linspace(-1, 1, n) * half
    return tx + offset, (ty + offset)[:, None]


@pytest.mark.parametrize("observer", [EARTH, NEAR], ids=["earth", "near"])
@pytest.mark.parametrize(("lon", "lat", "height"), [(10, 20, 0.05), (-35, -12, 0.1), (48, 5, 0.02), (68, -8, 0.25)])
def test_a_spot_is_where_sunpy_sees_it_and_as_bright_as_its_flux(light, lon, lat, height, observer):
    tx, ty, distance = direction(lon, lat, height, observer)
    radius = (PLAIN.rsun / distance).to(u.arcsec, u.dimensionless_angles())  # of the Sun, at the spot's distance
    x, y = window(tx, ty, 0.04 * radius)
    seen = light([spot(lon, lat, height)], x, y, observer)
    assert seen.max() > 10
    total = seen.sum()
    found = u.Quantity([(seen * x).sum() / total, (seen * y).sum() / total])
    assert np.abs(found - u.Quantity([tx, ty])).max() < 2e-4 * radius
    pixel = ((x[1] - x[0]) / radius).to_value(u.one) ** 2
    assert total * pixel == pytest.approx(100 * FLUX, rel=0.01)


@pytest.mark.parametrize(("lon", "height", "visible"), [(100, 0.005, False), (100, 0.1, True), (180, 0.2, False)])
def test_the_sun_hides_what_is_behind_it(light, lon, height, visible):
    observer = simulate.observer(1 * u.AU, 0 * u.deg, 0 * u.deg, TIME)
    tx, ty, _ = direction(lon, 0, height, observer)
    seen = light([spot(lon, 0, height)], *window(tx, ty, 40 * u.arcsec), observer)
    assert bool(seen.max() > 10) is visible
    if not visible:
        assert not seen.any()


@pytest.mark.parametrize("model", ["howard", "rigid", "none"])
def test_loops_turn_with_the_surface_below_them(light, model):
    """A beacon on the surface, which other tests hold to sunpy, and a spot right above it stay together."""
    scene = PLAIN.replace(rotation_model=model)
    later = TIME + 1.5 * u.day
    place = (-25 * u.deg, 30 * u.deg)
    beacon = scene.replace(loops=0, beacons=(place,), beacon_width=0.25 * u.deg)
    x, y = (np.linspace(-600, 600, 401) * u.arcsec, np.linspace(200, 700, 168)[:, None] * u.arcsec)
    surface = beacon.intensity(x, y, EARTH, later) - scene.replace(loops=0).intensity(x, y, EARTH, later)
    loop = light([spot(-25, 30, 0.0)], x, y, EARTH, later, scene)
    for axis in (x, y):
        first, second = ((image * axis).sum() / image.sum() for image in (surface, loop))
        assert abs(first - second) < 0.3 * u.arcsec


def test_columns_with_times_of_their_own_are_seen_at_their_times(light):
    times = TIME + np.array([0.0, 9.0, 3.0]) * u.h
    x, y = np.array([-20.0, 0.0, 40.0]) * u.arcsec, np.linspace(-60, 60, 31)[:, None] * u.arcsec
    regions = [spot(1, 3, 0.02), spot(-3, 4, 0.05)]
    together = light(regions, x, y, EARTH, times)
    for k, time in enumerate(times):
        np.testing.assert_allclose(together[:, [k]], light(regions, x[[k]], y, EARTH, time), atol=1e-9)
    assert together.max() > 1


def test_loops_stand_above_the_active_regions_of_the_surface():
    scene = simulate.Scene(seed=4, time=TIME, resolution=0.2 * u.deg, loops=6)
    places = [place for place in region_places(scene._recipe) if np.hypot(*place) < 55]
    assert places
    bare = scene.replace(loops=0)
    x, y = np.meshgrid(*[np.linspace(-900, 900, 60)] * 2) * u.arcsec
    quiet = np.median(bare.intensity(x, y, EARTH))
    for place in places:
        tx, ty, _ = direction(*place, 0, EARTH)
        x, y = window(tx, ty, 40 * u.arcsec, 21)
        assert bare.intensity(x, y, EARTH).mean() > 2 * quiet
        assert scene.intensity(x, y, EARTH).mean() > 1.2 * bare.intensity(x, y, EARTH).mean()


def test_without_active_regions_the_disc_is_as_it_was_but_for_its_rim():
    scene = simulate.Scene(seed=2, resolution=0.2 * u.deg, n_active_regions=0, loops=6)
    x, y = np.meshgrid(*[np.linspace(-300, 300, 50)] * 2) * u.arcsec
    bare = scene.replace(loops=0).intensity(x, y, EARTH)
    np.testing.assert_allclose(scene.intensity(x, y, EARTH), bare, rtol=1e-3)


@pytest.mark.parametrize("angle", np.arange(0, 360, 30))
def test_brightness_is_continuous_at_the_limb_and_falls_off_above_it(angle):
    scene = simulate.Scene(seed=2, time=TIME, resolution=0.2 * u.deg, n_active_regions=0, loops=6)
    limb = np.arcsin((scene.rsun / EARTH.radius).to_value(u.one)) * u.rad
    radii = limb * np.array([1 - 1e-6, 1 + 1e-6, 1.02, 1.1, 1.3])
    inside, outside, *above = scene.intensity(
        radii * np.sin(np.radians(angle)), radii * np.cos(np.radians(angle)), EARTH
    )
    assert inside == pytest.approx(outside, rel=0.01)
    assert np.all(np.diff([outside, *above]) < 0)
