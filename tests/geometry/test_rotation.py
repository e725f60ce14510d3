"""The closed form of rotation and change of observer, held to sunpy."""

import pickle
from functools import partial

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

import astropy.units as u
from astropy.coordinates import SkyCoord
from astropy.time import Time

from sunpy.coordinates import (
    HeliocentricInertial,
    HeliographicStonyhurst,
    Helioprojective,
    RotatedSunFrame,
    propagate_with_solar_surface,
    transform_with_sun_center,
)
from sunpy.sun.models import differential_rotation

from sunalign import simulate
from sunalign.geometry.coordinates import ARCSEC, angles, direction
from sunalign.geometry.observers import Observation, observer_trajectory
from sunalign.geometry.rotation import ROTATION, ObserverPosition, SphereTransform, observer_position, stonyhurst_zero

TIME = Time("2024-10-17T00:00:00")
RSUN = 6.957e8
PIXEL = 0.5 * ARCSEC  # of the finest imagers: what 1e-6 px means


def transform(start, end, elapsed, rates=ROTATION["differential"], radius=RSUN, **options):
    """DirectionTransform between two Places, with ``elapsed`` seconds in between."""
    return SphereTransform(
        radius=radius,
        distance=np.atleast_1d(start.distance),
        latitude=np.atleast_1d(start.latitude),
        longitude=np.atleast_1d(start.longitude - end.longitude),
        elapsed=np.atleast_1d(elapsed),
        rates=rates,
        to_distance=float(end.distance),
        to_latitude=float(end.latitude),
        **options,
    )


def frame(observer, time):
    return Helioprojective(observer=observer, obstime=time, rsun=RSUN * u.m)


def disc(observer, n=40, seed=0):
    """Directions over the disc of an observer, in radians."""
    rng = np.random.default_rng(seed)
    radius = np.sqrt(rng.uniform(0, 0.97, n)) * np.arcsin(RSUN * u.m / observer.radius).to_value(u.rad)
    angle = rng.uniform(0, 2 * np.pi, n)
    return radius * np.cos(angle), radius * np.sin(angle)


def assert_same(mine, theirs):
    """Angles agree within 1e-6 pixels wherever both say that something is seen."""
    tx, ty = angles(mine)
    seen = np.isfinite(tx)
    assert seen.any()
    gap = np.hypot(tx - theirs.Tx.to_value(u.rad), ty - theirs.Ty.to_value(u.rad))[seen]
    assert gap.max() < 1e-6 * PIXEL


observers = st.builds(
    lambda dsun, lon, lat: (dsun * u.AU, lon * u.deg, lat * u.deg),
    st.floats(0.28, 1.02), st.floats(-180, 180), st.floats(-30, 30),
)  # fmt: skip


@settings(max_examples=12)
@given(observers, observers, st.floats(-20, 20), st.integers(0, 9))
def test_carry_is_what_sunpy_does(first, second, hours, seed):
    later = TIME + hours * u.hour
    # Not so far apart that they share no hemisphere.
    second = (second[0], first[1] + second[1] / 4, second[2])
    a, b = simulate.observer(*first, TIME), simulate.observer(*second, later)
    tx, ty = disc(a, seed=seed)
    with propagate_with_solar_surface("howard"):
        theirs = SkyCoord(tx * u.rad, ty * u.rad, frame=frame(a, TIME)).transform_to(frame(b, later))
    mine = transform(observer_position(a, TIME), observer_position(b, later), hours * 3600)(
        direction(tx, ty), np.zeros(1)
    )
    assert_same(mine, theirs)


def test_carry_is_what_rotated_sun_frame_does():
    a, b = (
        simulate.observer(0.4 * u.AU, 10 * u.deg, 3 * u.deg, TIME),
        simulate.observer(0.5 * u.AU, 15 * u.deg, 0 * u.deg, TIME),
    )
    tx, ty = disc(a)
    rotated = RotatedSunFrame(tx * u.rad, ty * u.rad, base=frame(a, TIME), duration=5 * u.hour)
    with transform_with_sun_center():
        theirs = SkyCoord(rotated).transform_to(
            frame(simulate.observer(b.radius, b.lon, b.lat, TIME + 5 * u.hour), TIME + 5 * u.hour)
        )
    later = simulate.observer(b.radius, b.lon, b.lat, TIME + 5 * u.hour)
    mine = transform(observer_position(a, TIME), observer_position(later, TIME + 5 * u.hour), 5 * 3600)(
        direction(tx, ty), np.zeros(1)
    )
    assert_same(mine, theirs)


@pytest.mark.parametrize(("name", "model"), [("differential", "howard"), ("rigid", "rigid")])
def test_rates_are_those_of_sunpy(name, model):
    latitude = np.linspace(-80, 80, 9) * u.deg
    a, b, c = ROTATION[name]
    sin2 = np.sin(latitude.to_value(u.rad)) ** 2
    expected = differential_rotation(1 * u.day, latitude, model=model).to_value(u.rad)
    np.testing.assert_allclose((a + b * sin2 + c * sin2**2) * 86400, expected, rtol=1e-12)


def test_height_is_a_larger_sphere():
    a, b = (
        simulate.observer(1 * u.AU, 0 * u.deg, 5 * u.deg, TIME),
        simulate.observer(0.6 * u.AU, 12 * u.deg, 0 * u.deg, TIME),
    )
    tx, ty = disc(a)
    high = Helioprojective(observer=a, obstime=TIME, rsun=(RSUN + 2e7) * u.m)
    theirs = SkyCoord(tx * u.rad, ty * u.rad, frame=high).transform_to(frame(b, TIME))
    mine = transform(observer_position(a, TIME), observer_position(b, TIME), 0.0, radius=RSUN + 2e7)(
        direction(tx, ty), np.zeros(1)
    )
    assert_same(mine, theirs)


def test_nothing_happens_in_no_time_and_lengths_do_not_matter():
    here = ObserverPosition(1.0, 0.1, 0.5 * 1.496e11)
    v = direction(*np.random.default_rng(1).uniform(-0.02, 0.02, (2, 50)))  # on the disc and off it
    for length in (1.0, 3.0):
        np.testing.assert_allclose(angles(transform(here, here, 0.0)(length * v, np.zeros(1))), angles(v), atol=1e-15)


def test_what_turns_behind_the_limb_is_not_seen():
    here = ObserverPosition(0.0, 0.0, 1.496e11)
    limb = np.arcsin(RSUN / 1.496e11)
    west, east = direction(0.995 * limb, 0.0), direction(-0.995 * limb, 0.0)
    later = transform(here, here, 12 * 3600.0)
    assert np.isnan(later(west, np.zeros(1))).all()
    assert np.isfinite(later(east, np.zeros(1))).all()


def test_off_the_disc_everything_is_left_alone_unless_told_otherwise():
    here = ObserverPosition(0.0, 0.1, 1.496e11)
    limb = np.arcsin(RSUN / 1.496e11)
    off = direction(1.1 * limb * np.cos(np.arange(8)), 1.1 * limb * np.sin(np.arange(8)))
    later = transform(here, here, 6 * 3600.0)
    np.testing.assert_allclose(angles(later(off, np.zeros(1))), angles(off), atol=1e-16)
    # From half the distance it looks twice as large.
    near = transform(here, here._replace(distance=0.748e11), 6 * 3600.0)(off, np.zeros(1))
    np.testing.assert_allclose(np.hypot(near[1], near[2]) / np.hypot(off[1], off[2]), 2, rtol=1e-12)
    assert np.isnan(transform(here, here, 6 * 3600.0, off_disc=False)(off, np.zeros(1))).all()


def test_every_column_has_its_own_time_and_a_carry_can_be_sent_to_a_worker():
    here = ObserverPosition(0.0, 0.05, 1e11)
    seconds = np.array([0.0, 600.0, 1200.0])
    whole = pickle.loads(pickle.dumps(transform(here, here, seconds)))
    v = direction(np.full((4, 3), 1e-3), np.linspace(-1e-3, 1e-3, 4)[:, None])
    together = whole(v, np.arange(3.0))
    for k, elapsed in enumerate(seconds):
        np.testing.assert_array_equal(together[:, :, k], transform(here, here, elapsed)(v[:, :, k], np.zeros(1)))
    between = whole(v[:, :, 0], np.full(4, 0.5))
    np.testing.assert_allclose(between, transform(here, here, 300.0)(v[:, :, 0], np.zeros(1)), atol=1e-15)


def test_the_stonyhurst_meridian_is_the_same_for_many_times_as_for_one():
    times = TIME + np.linspace(0, 5, 40) * u.hour
    one_by_one = [float(stonyhurst_zero(time)) for time in times[::13]]
    np.testing.assert_allclose(stonyhurst_zero(times)[::13], one_by_one, atol=1e-12)


# Where the observer was

ORBIT = simulate.Orbit(
    dsun=0.3 * u.AU,
    hgln=20 * u.deg,
    hglt=4 * u.deg,
    hgln_rate=6.3 * u.deg / u.day,
    dsun_rate=15 * u.km / u.s,
    time=TIME,
)


def seen(time, header=None, telescop="SOLO"):
    observer = ORBIT(time)
    return Observation(
        "image",
        observer_position(observer, time),
        time,
        {"TELESCOP": telescop, **(header or {})},
        observer.lon.to_value(u.rad),
    )


def velocity(time):
    dt = 30 * u.s
    ends = [
        ORBIT(t).transform_to(HeliocentricInertial(obstime=t)).cartesian.xyz.to_value(u.m)
        for t in (time - dt, time + dt)
    ]
    return dict(zip(("HCIX_VOB", "HCIY_VOB", "HCIZ_VOB"), ((ends[1] - ends[0]) / 60).tolist(), strict=True))


SOURCES = {
    "the positions of 7 frames": [seen(TIME + k * u.hour / 2) for k in range(7)],
    "the velocity cards of image": [seen(TIME + 80 * u.min, velocity(TIME + 80 * u.min))],
    "the positions and dates of the two headers": [seen(TIME + 3 * u.hour)],
}


@pytest.mark.parametrize("source", SOURCES)
def test_every_source_tells_where_the_observer_was(source):
    target = seen(TIME + 90 * u.min)
    trajectory = observer_trajectory(target, SOURCES[source], 3 * 3600.0)
    assert trajectory.source == source
    assert trajectory.known
    seconds = np.linspace(-5400, 5400, 7)
    expected = [observer_position(ORBIT(target.date + s * u.s), target.date + s * u.s) for s in seconds]
    found = trajectory.position(seconds)
    # A hundred kilometres along the orbit are 0.002 arcsec on the Sun; its curvature is all that is missing.
    gap = np.linalg.norm(found.cartesian.T - np.array([place.cartesian for place in expected]), axis=1)
    assert gap.max() < {"the positions of 7 frames": 2e4, "the velocity cards of image": 1.5e6}.get(source, 1e7)


def test_the_callers_word_comes_first():
    target = seen(TIME + 90 * u.min)
    for given_ in (ORBIT, [ORBIT(TIME + h * u.hour) for h in range(4)]):
        trajectory = observer_trajectory(target, SOURCES["the positions of 7 frames"], 3 * 3600.0, given_)
        assert trajectory.source == "given by the caller"
        place = trajectory.position(np.array([-3000.0, 3000.0]))
        expected = observer_position(ORBIT(target.date + 3000 * u.s), target.date + 3000 * u.s)
        assert np.linalg.norm(place.cartesian[:, 1] - expected.cartesian) < 2e5


def test_other_spacecraft_and_copied_positions_say_nothing():
    target = seen(TIME + 90 * u.min)
    other = observer_trajectory(target, [seen(TIME, telescop="SDO")], 3 * 3600.0)
    copied = seen(TIME)
    same = Observation(
        "copy",
        copied.position._replace(longitude=copied.position.longitude + 1e-5),
        TIME + 10 * u.min,
        {"TELESCOP": "SOLO"},
        copied.stonyhurst,
    )
    for trajectory in (other, observer_trajectory(copied, [same], 3 * 3600.0)):
        assert not trajectory.known
        assert trajectory.source.startswith("unknown")
    close = observer_trajectory(target, [seen(target.date + 30 * u.s)], 3 * 3600.0)
    assert not close.known


def test_held_in_stonyhurst_like_earth():
    earth = simulate.observer(1 * u.AU, time=TIME)
    target = Observation("eis", observer_position(earth, TIME), TIME, {}, 0.0)
    trajectory = observer_trajectory(target, [], 3600.0)
    assert trajectory.known
    expected = partial(observer_position, time=TIME)
    later = SkyCoord(0 * u.deg, 0 * u.deg, 1 * u.AU, frame=HeliographicStonyhurst(obstime=TIME + 1 * u.hour))
    gap = trajectory.position(np.array([3600.0])).longitude[0] - expected(later).longitude
    assert abs(gap) < 1e-10
